// What every library here exports, for `library.load`.

#include <omp.h>

// By how many a region is executed: of the OpenMP that executes it.
extern "C" int threads() {
    int count = 0;
#pragma omp parallel
#pragma omp single
    count = omp_get_num_threads();
    return count;
}
