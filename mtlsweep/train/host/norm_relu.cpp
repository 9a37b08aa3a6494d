// BatchNorm in training, a shortcut and ReLU, and their gradients, of activations that lie channels last: `rows` pixels of `channels`
// numbers each, in bf16 or fp32. Sums are made in chunks of one size, whatever the number of threads: so are their roundings.
//
// Channels are 16, 32, 64 or a multiple of 64, and the numbers of an array a multiple of 64.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "openmp.h"

namespace {

// As many numbers as a register holds: of larger vectors compilers make single numbers where they are compared.
#if defined(__AVX512F__)
constexpr long LANES = 16;
#elif defined(__AVX2__)
constexpr long LANES = 8;
#else
constexpr long LANES = 4;
#endif
constexpr long VECTORS = 4, BLOCK = LANES * VECTORS;
// Numbers that a thread works on at once: their arrays fit into a core's first cache.
constexpr long CHUNK = 16384;

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));

struct bf16 {
    uint16_t bits;
};

inline floats load(const float *from) {
    floats values;
    memcpy(&values, from, sizeof values);
    return values;
}

inline floats load(const bf16 *from) {
    halves bits;
    memcpy(&bits, from, sizeof bits);
    return (floats)(__builtin_convertvector(bits, words) << 16);
}

inline void store(float *to, floats values) { memcpy(to, &values, sizeof values); }

// To the nearest, of two as near to the even one; what is not a number stays none.
inline void store(bf16 *to, floats values) {
    words bits = (words)values;
    words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    rounded = values == values ? rounded : rounded - rounded + 0x7fc0;
    halves kept = __builtin_convertvector(rounded, halves);
    memcpy(to, &kept, sizeof kept);
}

// An array's numbers, and those after which the channels begin again, a whole number of blocks.
struct Extent {
    long numbers, period, chunk, chunks;

    Extent(long rows, long channels) {
        numbers = rows * channels;
        period = std::max(channels, BLOCK);
        chunk = std::max(CHUNK / period, 1L) * period;
        chunks = (numbers + chunk - 1) / chunk;
    }
};

// What is done with the chunks of `count` arrays one behind the other, by several threads. The same chunk of all arrays is one thread's.
template <class Work> void each_chunk(const Extent &extent, int threads, const Work &work) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long i = 0; i < extent.chunks; i++)
        work(i, i * extent.chunk, std::min((i + 1) * extent.chunk, extent.numbers));
}

// A number for each channel, repeated up to a period.
void repeat(const float *channels, long count, float *period) {
    for (long i = 0; i < std::max(count, BLOCK); i++)
        period[i] = channels[i % count];
}

// The sums that `each_chunk` left in `parts`, two of a period each by chunk, of the channels.
void add(const float *parts, const Extent &extent, long channels, double *sums) {
    std::fill(sums, sums + 2 * channels, 0.0);
    for (long i = 0; i < extent.chunks; i++)
        for (long which = 0; which < 2; which++, parts += extent.period)
            for (long j = 0; j < extent.period; j++)
                sums[which * channels + j % channels] += parts[j];
}

template <class T> struct Forward {
    long rows, channels;
    int threads;
    const T *raw;
    float *scratch; // see `scratch_of`

    // Mean and inverse deviation of each channel. Sums are of what a channel's numbers are above its first one, which costs no digits
    // where the mean is far from zero.
    void statistics(double eps, float *mean, float *inverse, double *variance) const {
        Extent extent(rows, channels);
        float *first = scratch, *parts = scratch + extent.period;
        for (long i = 0; i < extent.period; i += LANES)
            store(first + i, load(raw + i % channels));
        each_chunk(extent, threads, [=](long chunk, long begin, long end) {
            float *sums = parts + 2 * chunk * extent.period, *squares = sums + extent.period;
            for (long block = 0; block < extent.period; block += BLOCK) {
                floats sum[VECTORS] = {}, square[VECTORS] = {};
                for (long at = begin + block; at < end; at += extent.period)
                    for (long v = 0; v < VECTORS; v++) {
                        floats above = load(raw + at + LANES * v) - load(first + block + LANES * v);
                        sum[v] += above;
                        square[v] += above * above;
                    }
                for (long v = 0; v < VECTORS; v++) {
                    store(sums + block + LANES * v, sum[v]);
                    store(squares + block + LANES * v, square[v]);
                }
            }
        });
        double sums[2 * channels];
        add(parts, extent, channels, sums);
        for (long c = 0; c < channels; c++) {
            double above = sums[c] / rows;
            variance[c] = sums[channels + c] / rows - above * above;
            if (variance[c] < 0)
                variance[c] = 0;
            mean[c] = first[c] + above;
            inverse[c] = 1 / std::sqrt(variance[c] + eps);
        }
    }

    // ReLU of what is normalised, and of what is beside it.
    void output(const float *mean, const float *factor, const float *bias, const T *beside, T *result) const {
        Extent extent(rows, channels);
        float *means = scratch, *factors = means + extent.period, *biases = factors + extent.period;
        repeat(mean, channels, means);
        repeat(factor, channels, factors);
        repeat(bias, channels, biases);
        each_chunk(extent, threads, [=](long, long begin, long end) {
            for (long at = begin; at < end;)
                for (long i = 0; i < extent.period; i += LANES, at += LANES) {
                    floats value = (load(raw + at) - load(means + i)) * load(factors + i) + load(biases + i);
                    if (beside)
                        value += load(beside + at);
                    store(result + at, value < 0 ? floats{} : value);
                }
        });
    }
};

template <class T>
void forward(long rows, long channels, int threads, const T *raw, const float *weight, const float *bias, const T *beside, double eps,
             double momentum, float *running_mean, float *running_variance, float *statistics, T *output, float *scratch) {
    Forward<T> layer{rows, channels, threads, raw, scratch};
    float *mean = statistics, *inverse = statistics + channels, factor[channels];
    double variance[channels];
    layer.statistics(eps, mean, inverse, variance);
    for (long c = 0; c < channels; c++) {
        factor[c] = weight[c] * inverse[c];
        if (running_mean) {
            double unbiased = variance[c] * rows / std::max(rows - 1, 1L);
            running_mean[c] += momentum * (mean[c] - running_mean[c]);
            running_variance[c] += momentum * (unbiased - running_variance[c]);
        }
    }
    layer.output(mean, factor, bias, beside, output);
}

// Of `count` gradients of the output, one behind the other, that of what went into ReLU, in place, and that of `raw`.
template <class T>
void backward(long rows, long channels, int threads, long count, const T *raw, const T *output, const float *statistics,
              const float *weight, T *arrives, const T *beside, T *of_raw, float *of_weight, float *of_bias, long apart, float *scratch) {
    Extent extent(rows, channels);
    float *means = scratch, *constants = means + extent.period; // of each gradient: factor, slope, constant
    float *parts = constants + 3 * count * extent.period;
    const float *inverse = statistics + channels;
    repeat(statistics, channels, means);
    each_chunk(extent, threads, [=](long chunk, long begin, long end) {
        for (long k = 0; k < count; k++) {
            T *gradient = arrives + k * extent.numbers;
            const T *other = beside ? beside + k * extent.numbers : nullptr;
            float *sums = parts + 2 * (k * extent.chunks + chunk) * extent.period, *products = sums + extent.period;
            for (long block = 0; block < extent.period; block += BLOCK) {
                floats sum[VECTORS] = {}, product[VECTORS] = {};
                for (long at = begin + block; at < end; at += extent.period)
                    for (long v = 0; v < VECTORS; v++) {
                        long i = at + LANES * v;
                        floats value = load(gradient + i);
                        if (other)
                            value += load(other + i);
                        value = load(output + i) <= 0 ? floats{} : value;
                        store(gradient + i, value);
                        sum[v] += value;
                        product[v] += value * (load(raw + i) - load(means + block + LANES * v));
                    }
                for (long v = 0; v < VECTORS; v++) {
                    store(sums + block + LANES * v, sum[v]);
                    store(products + block + LANES * v, product[v]);
                }
            }
        }
    });
    for (long k = 0; k < count; k++) {
        double sums[2 * channels];
        float factor[channels], slope[channels], constant[channels];
        add(parts + 2 * k * extent.chunks * extent.period, extent, channels, sums);
        for (long c = 0; c < channels; c++) {
            of_bias[k * apart + c] = sums[c];
            of_weight[k * apart + c] = sums[channels + c] * inverse[c];
            factor[c] = weight[c] * inverse[c];
            slope[c] = -factor[c] * inverse[c] * inverse[c] * sums[channels + c] / rows;
            constant[c] = -factor[c] * sums[c] / rows;
        }
        float *own = constants + 3 * k * extent.period;
        repeat(factor, channels, own);
        repeat(slope, channels, own + extent.period);
        repeat(constant, channels, own + 2 * extent.period);
    }
    each_chunk(extent, threads, [=](long, long begin, long end) {
        for (long k = 0; k < count; k++) {
            const T *gradient = arrives + k * extent.numbers;
            T *result = of_raw + k * extent.numbers;
            const float *factor = constants + 3 * k * extent.period, *slope = factor + extent.period, *constant = slope + extent.period;
            for (long at = begin; at < end;)
                for (long i = 0; i < extent.period; i += LANES, at += LANES)
                    store(result + at, load(gradient + at) * load(factor + i) + (load(raw + at) - load(means + i)) * load(slope + i) +
                                           load(constant + i));
        }
    });
}

// What is not a number is larger than all.
inline floats larger(floats one, floats other) { return (other > one) | (other != other) ? other : one; }

// What is done with each 2 x 2 pixels, LANES channels at a time, of images `(batch, height, width, channels)`: given where the four begin,
// and where the window's is in an array of windows.
template <class Work> void each_window(long batch, long height, long width, long channels, int threads, const Work &work) {
    long row = width * channels, row_of_windows = width / 2 * channels;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long y = 0; y < batch * height / 2; y++)
        for (long x = 0; x < width / 2; x++)
            for (long c = 0; c < channels; c += LANES) {
                long first = 2 * y * row + 2 * x * channels + c;
                work(first, first + channels, first + row, first + row + channels, y * row_of_windows + x * channels + c);
            }
}

template <class T> void pool(long batch, long height, long width, long channels, int threads, const T *images, T *result) {
    each_window(batch, height, width, channels, threads, [=](long a, long b, long c, long d, long window) {
        floats upper = larger(load(images + a), load(images + b));
        store(result + window, larger(larger(upper, load(images + c)), load(images + d)));
    });
}

// A gradient of what `pool` made goes to the first of the window's pixels, row by row, that is the largest, or to the last one where one is
// not a number; all others get zero.
template <class T>
void unpool(long batch, long height, long width, long channels, int threads, const T *images, const T *gradient, T *result) {
    each_window(batch, height, width, channels, threads, [=](long a, long b, long c, long d, long window) {
        floats pixel_a = load(images + a), pixel_b = load(images + b), pixel_c = load(images + c), pixel_d = load(images + d), none = {};
        floats largest = larger(larger(larger(pixel_a, pixel_b), pixel_c), pixel_d), left = load(gradient + window);
        store(result + a, pixel_a == largest ? left : none);
        left = pixel_a == largest ? none : left;
        store(result + b, pixel_b == largest ? left : none);
        left = pixel_b == largest ? none : left;
        store(result + c, pixel_c == largest ? left : none);
        store(result + d, pixel_c == largest ? none : left);
    });
}

} // namespace

extern "C" {

// How many floats of scratch memory a call of `forward` or, of so many gradients, `backward` needs.
long scratch_of(long rows, long channels, long count) {
    Extent extent(rows, channels);
    return extent.period * (4 + 3 * count + 2 * std::max(count, 1L) * extent.chunks);
}

#define OF_TYPE(T)                                                                                                                         \
    void forward_##T(long rows, long channels, int threads, const T *raw, const float *weight, const float *bias, const T *beside,         \
                     double eps, double momentum, float *running_mean, float *running_variance, float *statistics, T *output,              \
                     float *scratch) {                                                                                                     \
        forward(rows, channels, threads, raw, weight, bias, beside, eps, momentum, running_mean, running_variance, statistics, output,     \
                scratch);                                                                                                                  \
    }                                                                                                                                      \
    void infer_##T(long rows, long channels, int threads, const T *raw, const float *mean, const float *factor, const float *bias,         \
                   const T *beside, T *output, float *scratch) {                                                                           \
        Forward<T>{rows, channels, threads, raw, scratch}.output(mean, factor, bias, beside, output);                                      \
    }                                                                                                                                      \
    void backward_##T(long rows, long channels, int threads, long count, const T *raw, const T *output, const float *statistics,           \
                      const float *weight, T *arrives, const T *beside, T *of_raw, float *of_weight, float *of_bias, long apart,           \
                      float *scratch) {                                                                                                    \
        backward(rows, channels, threads, count, raw, output, statistics, weight, arrives, beside, of_raw, of_weight, of_bias, apart,      \
                 scratch);                                                                                                                 \
    }                                                                                                                                      \
    void pool_##T(long batch, long height, long width, long channels, int threads, const T *images, T *result) {                           \
        pool(batch, height, width, channels, threads, images, result);                                                                     \
    }                                                                                                                                      \
    void unpool_##T(long batch, long height, long width, long channels, int threads, const T *images, const T *gradient, T *result) {      \
        unpool(batch, height, width, channels, threads, images, gradient, result);                                                         \
    }

OF_TYPE(float)
OF_TYPE(bf16)
}
