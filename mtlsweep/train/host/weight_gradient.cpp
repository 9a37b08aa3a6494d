// The gradient of a 3 x 3 convolution's weights, padded by 1, of few channels: of bf16 images `(batch, stride height, stride width, inputs)`
// and of the gradient of what came out, `(batch, height, width, outputs)`, both channels last.
//
// It is a product of matrices whose rows are pixels. The instruction multiplies pairs and adds them, so pixels that are neighbours in a row
// are laid side by side first: of the gradient once, of the images once for each column of the weights, by which they are shifted.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "openmp.h"
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif
#ifdef __has_builtin
#define HAS_SHUFFLE __has_builtin(__builtin_shufflevector)  // one instruction for four; not in GCC 11
#endif

namespace {

constexpr long LANES = 16, TAPS = 3;
// Rows of zeros above and below a gradient's.
constexpr long AROUND = TAPS - 1;

typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef float floats __attribute__((vector_size(4 * LANES)));

struct Shape {
    long batch, height, width, inputs, outputs, stride;

    long pairs() const { return width / 2; }
    // Numbers of a row of images that has been laid out, and how many of these there are of each.
    long row() const { return (pairs() + 1) * inputs; }
    long columns() const { return stride == 1 ? 2 : TAPS; }
    // Whether a pixel is multiplied for all rows of the weights at once: a single register of outputs would leave the processor with a load
    // for each product.
    bool all_rows() const { return outputs == LANES && stride == 1; }
    // Rows of the result that are laid out at once: as few as fit into a core's first cache, or as many as make those around them few.
    long rows_at_once() const { return all_rows() ? 32 : 8; }
    long weights() const { return TAPS * TAPS * inputs * outputs; }
};

template <class T> inline T load(const void *from) {
    T values;
    memcpy(&values, from, sizeof values);
    return values;
}

// What is outside an image.
const uint16_t ZEROS[4 * LANES] = {};

// Two pixels' channels side by side.
template <long CHANNELS> inline void pair(const uint16_t *first, const uint16_t *second, uint32_t *to) {
    for (long c = 0; c < CHANNELS; c += LANES) {
        halves one = load<halves>(first + c), other = load<halves>(second + c);
#if HAS_SHUFFLE
        auto both = __builtin_shufflevector(one, other, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27,
                                            12, 28, 13, 29, 14, 30, 15, 31);
#else
        words both = __builtin_convertvector(one, words) | __builtin_convertvector(other, words) << 16;
#endif
        memcpy(to + c, &both, sizeof both);
    }
}

// Rows of a gradient, `(rows + 2 AROUND, pairs, outputs)`.
template <long OUTPUTS> void lay_gradient(const Shape &shape, const uint16_t *gradient, long rows, uint32_t *to) {
    long around = AROUND * shape.pairs() * OUTPUTS;
    to = std::fill_n(to, around, 0);
    for (long i = 0; i < rows * shape.pairs(); i++, gradient += 2 * OUTPUTS, to += OUTPUTS)
        pair<OUTPUTS>(gradient, gradient + OUTPUTS, to);
    std::fill_n(to, around, 0);
}

// Rows of an image from one on, some of which may be outside, `(columns, rows, pairs + 1, inputs)`: for each of the weights' columns, but
// with stride 1 for two of them, for the third one's pairs are those of the first one after its first.
template <long INPUTS> void lay_images(const Shape &shape, const uint16_t *image, long from, long rows, uint32_t *to) {
    long height = shape.stride * shape.height, width = shape.stride * shape.width, apart = shape.stride * INPUTS;
    for (long column = 0; column < shape.columns(); column++)
        for (long y = from; y < from + rows; y++, to += shape.row()) {
            if (y < 0 || y >= height) {
                std::fill_n(to, shape.row(), 0);
                continue;
            }
            const uint16_t *pixel = image + (y * width + column - 1) * INPUTS;
            pair<INPUTS>(column ? pixel : ZEROS, pixel + apart, to);
            for (long j = 1; j < shape.pairs(); j++)
                pair<INPUTS>(pixel + 2 * j * apart, pixel + (2 * j + 1) * apart, to + j * INPUTS);
            // The pair after the last, of which with stride 1 the first pixel may be one.
            bool left = shape.stride == 1 && column == 0;
            pair<INPUTS>(left ? pixel + 2 * shape.pairs() * apart : ZEROS, ZEROS, to + shape.pairs() * INPUTS);
        }
}

// In each lane the sum and the products of two pairs.
inline floats add_products(floats sum, words left, words right) {
#ifdef __AVX512BF16__
    return _mm512_dpbf16_ps(sum, (__m512bh)left, (__m512bh)right);
#else
    words upper = words{} + 0xffff0000;
    return sum + (floats)(left << 16) * (floats)(right << 16) + (floats)(left & upper) * (floats)(right & upper);
#endif
}

// Adds to the sums, `(INPUTS, outputs)`, of all outputs, VECTORS registers of them, and as many inputs as leave none idle.
template <int VECTORS, int INPUTS>
void multiply(const Shape &shape, long rows, const uint32_t *images, const uint32_t *gradient, float *sums) {
    floats sum[INPUTS][VECTORS];
#pragma GCC unroll 16
    for (int i = 0; i < INPUTS; i++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            sum[i][v] = load<floats>(sums + i * shape.outputs + LANES * v);
    for (long y = 0; y < rows; y++) {
        const uint32_t *pixels = images + y * shape.stride * shape.row();
        for (long j = 0; j < shape.pairs(); j++, pixels += shape.inputs, gradient += shape.outputs) {
            words right[VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++)
                right[v] = load<words>(gradient + LANES * v);
#pragma GCC unroll 16
            for (int i = 0; i < INPUTS; i++) {
                words left = words{} + pixels[i];
#pragma GCC unroll 4
                for (int v = 0; v < VECTORS; v++)
                    sum[i][v] = add_products(sum[i][v], left, right[v]);
            }
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < INPUTS; i++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            memcpy(sums + i * shape.outputs + LANES * v, &sum[i][v], sizeof(floats));
}

// The same for all rows of the weights and one register of outputs, by rows of images of which some reach beyond the gradient.
template <int INPUTS>
void multiply_all_rows(const Shape &shape, long rows, const uint32_t *images, const uint32_t *gradient, float *sums) {
    long of_rows = TAPS * shape.inputs * LANES, row = shape.pairs() * LANES;
    floats sum[INPUTS][TAPS];
#pragma GCC unroll 8
    for (int i = 0; i < INPUTS; i++)
#pragma GCC unroll 3
        for (int y = 0; y < TAPS; y++)
            sum[i][y] = load<floats>(sums + y * of_rows + i * LANES);
    for (long y = 0; y < rows + AROUND; y++) {
        const uint32_t *pixels = images + y * shape.row(), *first = gradient + (y + AROUND) * row;
        for (long j = 0; j < shape.pairs(); j++, pixels += shape.inputs, first += LANES) {
            words right[TAPS];
#pragma GCC unroll 3
            for (int y = 0; y < TAPS; y++)
                right[y] = load<words>(first - y * row);
#pragma GCC unroll 8
            for (int i = 0; i < INPUTS; i++) {
                words left = words{} + pixels[i];
#pragma GCC unroll 3
                for (int y = 0; y < TAPS; y++)
                    sum[i][y] = add_products(sum[i][y], left, right[y]);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < INPUTS; i++)
#pragma GCC unroll 3
        for (int y = 0; y < TAPS; y++)
            memcpy(sums + y * of_rows + i * LANES, &sum[i][y], sizeof(floats));
}

void add_all_rows(const Shape &shape, long rows, const uint32_t *images, const uint32_t *gradient, float *sums) {
    long laid = rows + AROUND;
    for (long x = 0; x < TAPS; x++) {
        const uint32_t *column = images + x % shape.columns() * laid * shape.row() + x / shape.columns() * shape.inputs;
        for (long i = 0; i < shape.inputs; i += 8, sums += 8 * LANES)
            multiply_all_rows<8>(shape, rows, column + i, gradient, sums);
    }
}

// Adds to the sums, `(TAPS, TAPS, inputs, outputs)`, what some rows have.
template <int VECTORS, int INPUTS>
void add_rows(const Shape &shape, long rows, const uint32_t *images, const uint32_t *gradient, float *sums) {
    long laid = shape.stride * (rows - 1) + TAPS;
    for (long y = 0; y < TAPS; y++)
        for (long x = 0; x < TAPS; x++) {
            const uint32_t *column = images + (x % shape.columns() * laid + y) * shape.row() + x / shape.columns() * shape.inputs;
            for (long i = 0; i < shape.inputs; i += INPUTS, sums += INPUTS * shape.outputs)
                multiply<VECTORS, INPUTS>(shape, rows, column + i, gradient, sums);
        }
}

void add_rows(const Shape &shape, long rows, const uint32_t *images, const uint32_t *gradient, float *sums) {
    if (shape.all_rows())
        return add_all_rows(shape, rows, images, gradient, sums);
    gradient += AROUND * shape.pairs() * shape.outputs;
    if (shape.outputs == LANES)
        add_rows<1, 16>(shape, rows, images, gradient, sums);
    else if (shape.outputs == 2 * LANES)
        add_rows<2, 8>(shape, rows, images, gradient, sums);
    else
        add_rows<4, 4>(shape, rows, images, gradient, sums);
}

// The sums of one thread's images: `count` gradients', one behind the other.
void add_images(const Shape &shape, long begin, long end, long count, const uint16_t *images, const uint16_t *gradients, float *sums) {
    long of_image = shape.stride * shape.height * shape.stride * shape.width * shape.inputs;
    long row_of_gradient = shape.width * shape.outputs, of_gradient = shape.height * row_of_gradient;
    long at_once = shape.rows_at_once();
    std::vector<uint32_t> left(shape.columns() * (shape.stride * (at_once - 1) + TAPS) * shape.row());
    auto lay = shape.inputs == 16 ? lay_images<16> : shape.inputs == 32 ? lay_images<32> : lay_images<64>;
    auto lay_out = shape.outputs == 16 ? lay_gradient<16> : shape.outputs == 32 ? lay_gradient<32> : lay_gradient<64>;
    std::vector<uint32_t> right((at_once + 2 * AROUND) * shape.pairs() * shape.outputs);
    std::fill(sums, sums + count * shape.weights(), 0.0f);
    for (long image = begin; image < end; image++)
        for (long y = 0; y < shape.height; y += at_once) {
            long rows = std::min(at_once, shape.height - y);
            lay(shape, images + image * of_image, shape.stride * y - 1, shape.stride * (rows - 1) + TAPS, left.data());
            for (long k = 0; k < count; k++) {
                lay_out(shape, gradients + (k * shape.batch + image) * of_gradient + y * row_of_gradient, rows, right.data());
                add_rows(shape, rows, left.data(), right.data(), sums + k * shape.weights());
            }
        }
}

} // namespace

extern "C" {

// Whether the processor has the instruction.
int has_instruction() {
#ifdef __AVX512BF16__
    return 1;
#else
    return 0;
#endif
}

// `count` results `(outputs, 3, 3, inputs)`, `apart` numbers from each other. Inputs and outputs are 16, 32 or 64, the width is even, and
// `scratch` has a result of each gradient for each thread.
void weight_gradient(long batch, long height, long width, long inputs, long outputs, long stride, int threads, long count,
                     const uint16_t *images, const uint16_t *gradients, float *result, long apart, float *scratch) {
    Shape shape{batch, height, width, inputs, outputs, stride};
    long size = count * shape.weights();
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long thread = 0; thread < threads; thread++)
        add_images(shape, thread * batch / threads, (thread + 1) * batch / threads, count, images, gradients, scratch + thread * size);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long o = 0; o < outputs; o++)
        for (long k = 0; k < count; k++)
            for (long i = 0; i < TAPS * TAPS * inputs; i++) {
                float sum = 0;
                for (long thread = 0; thread < threads; thread++)
                    sum += scratch[thread * size + k * shape.weights() + i * outputs + o];
                result[k * apart + o * TAPS * TAPS * inputs + i] = sum;
            }
}
}
