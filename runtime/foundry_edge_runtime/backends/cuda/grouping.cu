// Grouping of sampled points: farthest point sampling, and the nearest points of each centre.
//
// The indices are those of foundry_edge_runtime.grouping, ties included, and the coordinates theirs to the
// bit: the same operations in the same order, each rounded to float32 and none fused. The host keeps to the
// limits of grouping.py, which also says how much shared memory each kernel is given. Any number of threads
// per block will do.

typedef unsigned long long Key;  // a squared distance's bits, then an index: no two points have the same

extern __shared__ Key shared[];

__device__ float squared_distance(float ax, float ay, float az, float bx, float by, float bz)
{
    const float dx = __fsub_rn(ax, bx);
    const float dy = __fsub_rn(ay, by);
    const float dz = __fsub_rn(az, bz);
    return __fadd_rn(__fadd_rn(__fmul_rn(dx, dx), __fmul_rn(dy, dy)), __fmul_rn(dz, dz));
}

// Floats that are not negative sort like their bits.
__device__ Key key_of(float squared, unsigned index)
{
    return (Key)__float_as_uint(squared) << 32 | index;
}

// The largest of one key per thread, to all threads; room for blockDim.x keys is overwritten.
__device__ Key largest(Key mine, Key* room)
{
    __syncthreads();  // the room may still be read
    room[threadIdx.x] = mine;
    __syncthreads();
    for (unsigned width = blockDim.x; width > 1;) {
        const unsigned half = (width + 1) / 2;
        if (threadIdx.x + half < width && room[threadIdx.x + half] > room[threadIdx.x])
            room[threadIdx.x] = room[threadIdx.x + half];
        __syncthreads();
        width = half;
    }
    return room[0];
}

// Farthest point sampling of one cloud per block; of the points farthest from the samples, the one with the
// lowest index is next.
//   points (B, count, 3), starts (B,): the first sample -> chosen (B, groups)
//   shared memory: a key per thread, then four floats per point
extern "C" __global__ void farthest_points(
    const float* points, const int* starts, int* chosen, int count, int groups)
{
    Key* room = shared;
    float* x = (float*)(shared + blockDim.x);
    float* y = x + count;
    float* z = y + count;
    float* nearest = z + count;
    points += (size_t)blockIdx.x * count * 3;
    chosen += (size_t)blockIdx.x * groups;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        x[i] = points[3 * i];
        y[i] = points[3 * i + 1];
        z[i] = points[3 * i + 2];
        nearest[i] = __uint_as_float(0x7f800000u);  // infinity
    }
    __syncthreads();
    int sample = starts[blockIdx.x];
    for (int place = 0; place < groups; ++place) {
        if (threadIdx.x == 0)
            chosen[place] = sample;
        Key best = 0;
        for (int i = threadIdx.x; i < count; i += blockDim.x) {
            const float squared = squared_distance(x[i], y[i], z[i], x[sample], y[sample], z[sample]);
            if (squared < nearest[i])
                nearest[i] = squared;
            const Key key = key_of(nearest[i], ~(unsigned)i);  // the lower index is the larger key
            if (key > best)
                best = key;
        }
        sample = (int)~(unsigned)largest(best, room);
    }
}

// The points nearest to one centre per block, in order, ties to the lowest index; written relative to it.
//   points (B, count, 3), chosen (B, groups) -> grouped (B, groups, size, 3), centers (B, groups, 3)
//   shared memory: keys, as many as the first power of two that is not below count
extern "C" __global__ void nearest_points(
    const float* points, const int* chosen, float* grouped, float* centers, int count, int groups, int size)
{
    points += (size_t)(blockIdx.x / groups) * count * 3;
    const float* centre = points + 3 * chosen[blockIdx.x];
    int padded = 1;
    while (padded < count)
        padded *= 2;
    for (int i = threadIdx.x; i < padded; i += blockDim.x) {
        const float* p = points + 3 * i;
        shared[i] = i < count
            ? key_of(squared_distance(p[0], p[1], p[2], centre[0], centre[1], centre[2]), i)
            : ~(Key)0;
    }
    __syncthreads();
    // Bitonic sort (Batcher, 1968)
    for (int run = 2; run <= padded; run *= 2) {
        for (int step = run / 2; step > 0; step /= 2) {
            for (int i = threadIdx.x; i < padded; i += blockDim.x) {
                const int other = i ^ step;
                const bool ascending = (i & run) == 0;
                if (other > i && (shared[i] > shared[other]) == ascending) {
                    const Key key = shared[i];
                    shared[i] = shared[other];
                    shared[other] = key;
                }
            }
            __syncthreads();
        }
    }
    grouped += (size_t)blockIdx.x * size * 3;
    for (int i = threadIdx.x; i < size * 3; i += blockDim.x)
        grouped[i] = __fsub_rn(points[3 * (unsigned)shared[i / 3] + i % 3], centre[i % 3]);
    for (int axis = threadIdx.x; axis < 3; axis += blockDim.x)
        centers[(size_t)blockIdx.x * 3 + axis] = centre[axis];
}
