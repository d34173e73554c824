// Runs the kernels of a .cu file on a CPU: what they use of CUDA, on top of fibres.
//
// Each thread of a block is a fibre that runs up to its next barrier; then the next one does. That is the
// schedule that is hardest on code that lacks a barrier, in both orders of the threads. A barrier that not
// all threads reach, shared memory that was not asked for, and shared memory that is read before it was
// written show up as an error or as wrong numbers.

#include <algorithm>
#include <cstring>
#include <iterator>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__ static inline
#define __shared__
#define __syncthreads() wait_at(__LINE__)

struct Place {
    unsigned x;
};
static Place threadIdx, blockIdx, blockDim;

static void wait_at(int line);

// Compiled with -ffp-contract=off: one rounding for each operation.
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }

static inline unsigned __float_as_uint(float value)
{
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float __uint_as_float(unsigned bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

#include KERNELS

constexpr size_t SHARED_BYTES = 48 << 10, STACK_BYTES = 32 << 10;
constexpr Key RUBBISH = 0xA5A5A5A500000001ull;  // its index is one that kernels may read at
enum Outcome { DONE = 0, DIVERGED = 1, TOO_MUCH_SHARED = 2, NO_SUCH_KERNEL = 3 };

Key shared[SHARED_BYTES / sizeof(Key)];

struct Fibre {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(STACK_BYTES);
    int line = 0;  // of the barrier it waits at; 0 once it has returned
};

static ucontext_t scheduler;
static Fibre* current;
static void (*body)(void*);
static void* arguments;
static int left_out;  // the line of a barrier that is to be passed over; 0 for none

static void wait_at(int line)
{
    if (line == left_out)
        return;
    current->line = line;
    const Place mine = threadIdx;
    swapcontext(&current->context, &scheduler);
    threadIdx = mine;
}

static void enter()
{
    body(arguments);
    current->line = 0;
}

static void start(Fibre& fibre)
{
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.data();
    fibre.context.uc_stack.ss_size = fibre.stack.size();
    fibre.context.uc_link = &scheduler;
    makecontext(&fibre.context, enter, 0);
}

static Outcome run_block(std::vector<Fibre>& fibres, bool backwards)
{
    for (Fibre& fibre : fibres)
        start(fibre);
    for (;;) {
        for (size_t step = 0; step < fibres.size(); ++step) {
            const size_t thread = backwards ? fibres.size() - 1 - step : step;
            threadIdx.x = (unsigned)thread;
            current = &fibres[thread];
            swapcontext(&scheduler, &current->context);
        }
        for (const Fibre& fibre : fibres)
            if (fibre.line != fibres[0].line)
                return DIVERGED;
        if (fibres[0].line == 0)
            return DONE;
    }
}

static bool untouched_from(size_t bytes)
{
    const Key* asked_for = shared + (bytes + sizeof(Key) - 1) / sizeof(Key);
    return std::all_of(asked_for, std::cend(shared), [](Key key) { return key == RUBBISH; });
}

static Outcome run_grid(unsigned blocks, unsigned threads, size_t bytes, bool backwards)
{
    if (bytes > SHARED_BYTES)
        return TOO_MUCH_SHARED;
    std::vector<Fibre> fibres(threads);
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
        std::fill(std::begin(shared), std::end(shared), RUBBISH);
        const Outcome outcome = run_block(fibres, backwards);
        if (outcome != DONE)
            return outcome;
        if (!untouched_from(bytes))
            return TOO_MUCH_SHARED;
    }
    return DONE;
}

// A kernel called with what an array of pointers points to, as cuLaunchKernel calls it.
template <typename... A, size_t... I>
static void call(void (*kernel)(A...), void** values, std::index_sequence<I...>)
{
    kernel(*(A*)values[I]...);
}

template <auto kernel, typename... A>
static void set_body(void (*)(A...))
{
    body = [](void* values) { call(kernel, (void**)values, std::index_sequence_for<A...>()); };
}

extern "C" int launch(
    const char* name, unsigned blocks, unsigned threads, size_t bytes, int backwards, int without, void** values)
{
    left_out = without;
    if (!std::strcmp(name, "farthest_points"))
        set_body<farthest_points>(farthest_points);
    else if (!std::strcmp(name, "nearest_points"))
        set_body<nearest_points>(nearest_points);
    else
        return NO_SUCH_KERNEL;
    arguments = values;
    return run_grid(blocks, threads, bytes, backwards != 0);
}
