// The emulation itself: what its threads see of each other, and what it refuses.
#define BOOST_TEST_MODULE emulation
#include <cuda_runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cfenv>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr unsigned full = 0xffffffffu;

constexpr std::size_t memory_limit = 64 << 20;
[[maybe_unused]] const int limited = setenv("SPEFT_EMULATED_MEMORY", std::to_string(memory_limit).c_str(), 1);

template <class Element>
class DeviceArray {
public:
    explicit DeviceArray(std::size_t count, Element value = {}) : count_(count) {
        BOOST_REQUIRE(cudaMallocAsync(reinterpret_cast<void **>(&memory_), count * sizeof(Element), nullptr) ==
                      cudaSuccess);
        const std::vector<Element> values(count, value);
        BOOST_REQUIRE(cudaMemcpyAsync(memory_, values.data(), count * sizeof(Element), cudaMemcpyHostToDevice,
                                      nullptr) == cudaSuccess);
    }
    ~DeviceArray() { cudaFreeAsync(memory_, nullptr); }
    DeviceArray(const DeviceArray &) = delete;
    DeviceArray &operator=(const DeviceArray &) = delete;

    operator Element *() const { return memory_; }
    std::vector<Element> read() const {
        std::vector<Element> values(count_);
        BOOST_REQUIRE(cudaMemcpyAsync(values.data(), memory_, count_ * sizeof(Element), cudaMemcpyDeviceToHost,
                                      nullptr) == cudaSuccess);
        return values;
    }

private:
    std::size_t count_;
    Element *memory_ = nullptr;
};

template <class... Parameters, class... Arguments>
cudaError_t run(dim3 blocks, dim3 threads, std::size_t shared_bytes, void (*kernel)(Parameters...),
                Arguments &&...arguments) {
    const cudaLaunchConfig_t config = {blocks, threads, shared_bytes, nullptr, nullptr, 0};
    return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(std::forward<Arguments>(arguments))...);
}

__global__ void count_up(unsigned *visits) {
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    ++visits[block * blockDim.x * blockDim.y * blockDim.z + thread];
}

// values[i] = the sum of 0 … i, by doubling steps in shared memory of both kinds.
__global__ void sum_before(unsigned *values) {
    __shared__ unsigned other[256];
    auto *own = static_cast<unsigned *>(emulation::dynamic_shared_memory());
    const unsigned i = threadIdx.x;
    own[i] = i;
    for (unsigned distance = 1; distance < blockDim.x; distance *= 2) {
        __syncthreads();
        other[i] = own[i] + (i >= distance ? own[i - distance] : 0);
        __syncthreads();
        own[i] = other[i];
    }
    values[blockIdx.x * blockDim.x + i] = own[i];
}

__global__ void read_garbage(unsigned *values) {
    auto *shared = static_cast<unsigned *>(emulation::dynamic_shared_memory());
    values[threadIdx.x] = shared[threadIdx.x];
    shared[threadIdx.x] = 0;
}

__global__ void shuffle(int *values) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    int *const own = values + threadIdx.x * 8;
    own[0] = __shfl_sync(full, lane, 5);
    own[1] = __shfl_sync(full, lane, 3, 8);
    own[2] = __shfl_up_sync(full, lane, 3);
    own[3] = __shfl_down_sync(full, lane, 3, 16);
    own[4] = __shfl_xor_sync(full, lane, 9);
    own[5] = static_cast<int>(__ballot_sync(full, lane % 3 == 0));
    own[6] = __any_sync(full, lane == 31) + 2 * __any_sync(full, lane == 32);
    own[7] = __all_sync(full, lane < 32) + 2 * __all_sync(full, lane < 31);
}

__global__ void note_order(unsigned *order, unsigned *next) {
    order[atomicAdd(next, 1)] = blockIdx.x * blockDim.x + threadIdx.x;
}

__global__ void race(unsigned *seen) {
    __shared__ unsigned last;
    last = threadIdx.x;
    __syncthreads();
    if (threadIdx.x == 0) *seen = last;
}

__global__ void halve_least(float *value) {
    *value = std::numeric_limits<float>::denorm_min() * *value;
    if (std::fegetround() != FE_TONEAREST) *value = NAN;
}

__global__ void return_early(unsigned *seen) {
    if (threadIdx.x % 2 == 0) return;
    __syncthreads();
    __syncwarp();
    atomicAdd(seen, 1);
}

__global__ void multiply(const float *a, const float *b, float *d, bool bf16) {
    const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
    float sum[4] = {1, 2, 3, 4};
    std::uint32_t of_a[4], of_b[2];
    const auto pair = [](float low, float high) {
        return __float_as_uint(low) >> 16 | (__float_as_uint(high) & 0xffff0000u);
    };
    if (bf16) {
        const auto at = [&](unsigned row, unsigned k) { return pair(a[row * 16 + k], a[row * 16 + k + 1]); };
        const auto from = [&](unsigned k) { return pair(b[k * 8 + g], b[(k + 1) * 8 + g]); };
        of_a[0] = at(g, 2 * t), of_a[1] = at(g + 8, 2 * t), of_a[2] = at(g, 2 * t + 8), of_a[3] = at(g + 8, 2 * t + 8);
        of_b[0] = from(2 * t), of_b[1] = from(2 * t + 8);
        emulation::mma_m16n8k16_bf16(sum, of_a, of_b);
    } else {
        const auto at = [&](unsigned row, unsigned k) { return __float_as_uint(a[row * 8 + k]) | 1; };
        const auto from = [&](unsigned k) { return __float_as_uint(b[k * 8 + g]) | 1; };
        of_a[0] = at(g, t), of_a[1] = at(g + 8, t), of_a[2] = at(g, t + 4), of_a[3] = at(g + 8, t + 4);
        of_b[0] = from(t), of_b[1] = from(t + 4);
        emulation::mma_m16n8k8_tf32(sum, of_a, of_b);
    }
    for (unsigned i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}

__global__ void wait_at_two_barriers() {
    if (threadIdx.x == 3)
        __syncthreads();
    else
        __syncthreads();
}

__global__ void wait_for_ever() {
    if (threadIdx.x < 40)
        __syncthreads();
    else
        __syncwarp();
}

__global__ void differ_in_a_warp() {
    if (threadIdx.x == 31)
        __any_sync(full, 1);
    else
        __shfl_sync(full, 1, 0);
}

// How a process of its own that runs `body` ends: waitpid's status, 0 for one that goes well.
template <class Body>
int run_apart(Body &&body) {
    const pid_t child = fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
        std::signal(SIGABRT, SIG_DFL);
        std::signal(SIGSEGV, SIG_DFL);
        if (!std::freopen("/dev/null", "w", stderr)) _exit(2);
        alarm(60);
        body();
        _exit(0);
    }
    int status = 0;
    BOOST_REQUIRE(waitpid(child, &status, 0) == child);
    return status;
}

template <class Body>
bool dies_of(int signal, Body &&body) {
    const int status = run_apart(body);
    return WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

template <class Body>
bool aborts(Body &&body) {
    return dies_of(SIGABRT, body);
}

}  // namespace

BOOST_AUTO_TEST_CASE(runs_every_thread_once) {
    for (int round = 0; round < 8; ++round) {
        const DeviceArray<unsigned> visits(3 * 5 * 2 * 7 * 3 * 2);
        BOOST_TEST(run({3, 5, 2}, {7, 3, 2}, 0, count_up, visits) == cudaSuccess);
        for (const unsigned times : visits.read()) BOOST_REQUIRE_EQUAL(times, 1u);
    }
}

BOOST_AUTO_TEST_CASE(waits_at_barriers) {
    for (const unsigned threads : {1u, 31u, 33u, 256u}) {
        const DeviceArray<unsigned> sums(3 * threads);
        BOOST_TEST(run(3, threads, threads * sizeof(unsigned), sum_before, sums) == cudaSuccess);
        const std::vector<unsigned> found = sums.read();
        for (unsigned i = 0; i < found.size(); ++i)
            BOOST_REQUIRE_EQUAL(found[i], i % threads * (i % threads + 1) / 2);
    }
}

BOOST_AUTO_TEST_CASE(begins_shared_memory_with_garbage) {
    const DeviceArray<unsigned> values(64);
    BOOST_TEST(run(3, 64, 256, read_garbage, values) == cudaSuccess);
    for (const unsigned value : values.read()) BOOST_REQUIRE_EQUAL(value, full);
}

BOOST_AUTO_TEST_CASE(shuffles) {
    for (int round = 0; round < 4; ++round) {
        const DeviceArray<int> values(64 * 8);
        BOOST_TEST(run(1, 64, 0, shuffle, values) == cudaSuccess);
        const std::vector<int> found = values.read();
        for (int thread = 0; thread < 64; ++thread) {
            const int lane = thread % 32;
            const int expected[] = {5, lane / 8 * 8 + 3, lane < 3 ? lane : lane - 3, lane % 16 > 12 ? lane : lane + 3,
                                    lane ^ 9, 0x49249249, 1, 1};
            for (int i = 0; i < 8; ++i) BOOST_REQUIRE_EQUAL(found[thread * 8 + i], expected[i]);
        }
    }
}

BOOST_AUTO_TEST_CASE(has_atomics) {
    unsigned value = 5;
    BOOST_TEST(atomicAdd(&value, 3) == 5u);
    BOOST_TEST(atomicMax(&value, 7) == 8u);
    BOOST_TEST(atomicMin(&value, 7) == 8u);
    BOOST_TEST(atomicOr(&value, 8) == 7u);
    BOOST_TEST(atomicAnd(&value, 12) == 15u);
    BOOST_TEST(atomicCAS(&value, 11, 1) == 12u);
    BOOST_TEST(atomicCAS(&value, 12, 1) == 12u);
    BOOST_TEST(atomicExch(&value, 2) == 1u);
    BOOST_TEST(value == 2u);
}

BOOST_AUTO_TEST_CASE(changes_the_order) {
    std::set<std::vector<unsigned>> orders;
    for (int round = 0; round < 8; ++round) {
        const DeviceArray<unsigned> order(4 * 64), next(1);
        BOOST_TEST(run(4, 64, 0, note_order, order, next) == cudaSuccess);
        std::vector<unsigned> found = order.read();
        orders.insert(found);
        std::sort(found.begin(), found.end());
        std::vector<unsigned> all(found.size());
        std::iota(all.begin(), all.end(), 0u);
        BOOST_TEST(found == all);
    }
    BOOST_TEST(orders.size() > 4u);
    std::set<unsigned> seen;
    for (int round = 0; round < 16; ++round) {
        const DeviceArray<unsigned> last(1);
        BOOST_TEST(run(1, 64, 0, race, last) == cudaSuccess);
        seen.insert(last.read()[0]);
    }
    BOOST_TEST(seen.size() > 2u);
}

BOOST_AUTO_TEST_CASE(lets_threads_return_before_barriers) {
    const DeviceArray<unsigned> seen(1);
    BOOST_TEST(run(1, 96, 0, return_early, seen) == cudaSuccess);
    BOOST_TEST(seen.read()[0] == 48u);
}

BOOST_AUTO_TEST_CASE(multiplies_in_a_warp) {
    for (const bool bf16 : {true, false}) {
        const unsigned depth = bf16 ? 16 : 8;
        std::vector<float> a(16 * depth), b(depth * 8);
        for (unsigned i = 0; i < a.size(); ++i) a[i] = static_cast<float>(static_cast<int>(i * 37 % 101) - 50);
        for (unsigned i = 0; i < b.size(); ++i) b[i] = static_cast<float>(static_cast<int>(i * 53 % 97) - 48);
        const DeviceArray<float> of_a(a.size()), of_b(b.size()), d(128);
        cudaMemcpyAsync(of_a, a.data(), a.size() * sizeof(float), cudaMemcpyHostToDevice, nullptr);
        cudaMemcpyAsync(of_b, b.data(), b.size() * sizeof(float), cudaMemcpyHostToDevice, nullptr);
        BOOST_TEST(run(1, 32, 0, multiply, of_a, of_b, d, bf16) == cudaSuccess);
        const std::vector<float> found = d.read();
        for (unsigned row = 0; row < 16; ++row)
            for (unsigned column = 0; column < 8; ++column) {
                float expected = static_cast<float>(1 + row / 8 * 2 + column % 2);
                for (unsigned k = 0; k < depth; ++k) expected += a[row * depth + k] * b[k * 8 + column];
                BOOST_REQUIRE_EQUAL(found[row * 8 + column], expected);
            }
    }
}

BOOST_AUTO_TEST_CASE(has_a_floating_point_environment_of_its_own) {
    const DeviceArray<float> value(1, 1.0f);
    std::fesetround(FE_UPWARD);
    const cudaError_t error = run(1, 1, 0, halve_least, value);
    const int after = std::fegetround();
    std::fesetround(FE_TONEAREST);
    BOOST_TEST(error == cudaSuccess);
    BOOST_TEST(after == FE_UPWARD);
    BOOST_TEST(value.read()[0] == std::numeric_limits<float>::denorm_min());
}

BOOST_AUTO_TEST_CASE(refuses_what_a_device_refuses) {
    const DeviceArray<unsigned> visits(1);
    BOOST_TEST(run(1, 1025, 0, count_up, visits) == cudaErrorInvalidConfiguration);
    BOOST_TEST(run({1, 65536}, 1, 0, count_up, visits) == cudaErrorInvalidConfiguration);
    BOOST_TEST(run(1, 1, 49 << 10, count_up, visits) == cudaErrorInvalidValue);
    const void *const kernel = reinterpret_cast<const void *>(count_up);
    const auto attribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
    BOOST_TEST(cudaFuncSetAttribute(kernel, attribute, 228 << 10) == cudaErrorInvalidValue);
    BOOST_TEST(cudaFuncSetAttribute(kernel, attribute, 49 << 10) == cudaSuccess);
    BOOST_TEST(run(1, 1, 49 << 10, count_up, visits) == cudaSuccess);
    BOOST_TEST(cudaGetLastError() == cudaErrorInvalidValue);
    BOOST_TEST(cudaGetLastError() == cudaSuccess);
    unsigned on_host = 0;
    BOOST_TEST(cudaMemcpyAsync(&on_host, visits, 8, cudaMemcpyDeviceToHost, nullptr) == cudaErrorInvalidValue);
    BOOST_TEST(cudaMemcpyAsync(visits, &on_host, 4, cudaMemcpyDeviceToHost, nullptr) == cudaErrorInvalidValue);
    BOOST_TEST(cudaMemcpyAsync(&on_host, visits, 4, cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
    BOOST_TEST(on_host == 1u);
}

BOOST_AUTO_TEST_CASE(hides_memory_from_the_host) {
    const DeviceArray<unsigned> values(3, 7);
    const volatile unsigned *const seen = values;
    unsigned *const written = values;
    const auto count = [&] { run(1, 3, 0, count_up, written); };
    BOOST_TEST(dies_of(SIGSEGV, [&] { static_cast<void>(seen[1]); }));
    BOOST_TEST(dies_of(SIGSEGV, [&] { written[1] = 0; }));
    BOOST_TEST(dies_of(SIGSEGV, [&] {
        count();
        static_cast<void>(seen[0]);
    }));
    BOOST_TEST(run_apart(count) == 0);
    BOOST_TEST(values.read() == std::vector<unsigned>(3, 7));
    BOOST_TEST(cudaMemsetAsync(values, 0, 8, nullptr) == cudaSuccess);
    BOOST_TEST(values.read() == (std::vector<unsigned>{0, 0, 7}));
}

BOOST_AUTO_TEST_CASE(gives_out_memory_again) {
    constexpr std::size_t bytes = memory_limit / 8 * 5;
    const DeviceArray<unsigned> kept(5, 9);
    for (int round = 0; round < 8; ++round) {
        void *memory = nullptr, *more = nullptr;
        BOOST_TEST(cudaMallocAsync(&memory, bytes, nullptr) == cudaSuccess);
        BOOST_TEST(reinterpret_cast<std::uintptr_t>(memory) % 256 == 0u);
        BOOST_TEST(cudaMallocAsync(&more, bytes, nullptr) == cudaErrorMemoryAllocation);
        BOOST_TEST(!more);
        cudaGetLastError();
        std::vector<unsigned char> image(bytes);
        BOOST_TEST(cudaMemcpyAsync(image.data(), memory, bytes, cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
        BOOST_TEST((std::count(image.begin(), image.end(), 0xff) == static_cast<std::ptrdiff_t>(bytes)));
        BOOST_TEST(cudaMemsetAsync(memory, 0, bytes, nullptr) == cudaSuccess);
        BOOST_TEST(cudaFreeAsync(memory, nullptr) == cudaSuccess);
        BOOST_TEST(cudaMemcpyAsync(image.data(), memory, 1, cudaMemcpyDeviceToHost, nullptr) == cudaErrorInvalidValue);
        cudaGetLastError();
    }
    std::vector<std::unique_ptr<DeviceArray<unsigned>>> pieces;
    for (unsigned i = 0; i < 300; ++i) {
        pieces.push_back(std::make_unique<DeviceArray<unsigned>>(i * 37 % 1000 + 1, i));
        if (i % 3 == 2) pieces[i / 2].reset();
    }
    for (unsigned i = 0; i < pieces.size(); ++i)
        if (pieces[i]) BOOST_TEST(pieces[i]->read() == std::vector<unsigned>(i * 37 % 1000 + 1, i));
    BOOST_TEST(kept.read() == std::vector<unsigned>(5, 9));
}

#ifdef __SANITIZE_ADDRESS__
BOOST_AUTO_TEST_CASE(tells_of_bounds) {
    const DeviceArray<unsigned> before(1), values(7), behind(1);
    BOOST_TEST(run_apart([&] { run(1, 7, 0, count_up, values); }) == 0);
    BOOST_TEST(run_apart([&] { run(1, 8, 0, count_up, values); }) != 0);
    BOOST_TEST(run_apart([&] { run(1, 1, 0, +[](unsigned *place) { --place[-1]; }, values); }) != 0);
    BOOST_TEST(run_apart([&] {
        auto place = new DeviceArray<unsigned *>(1, static_cast<unsigned *>(values));
        cudaFreeAsync(values, nullptr);
        run(1, 1, 0, +[](unsigned **of) { ++**of; }, *place);
    }) != 0);
}
#endif

BOOST_AUTO_TEST_CASE(tells_of_wrong_kernels) {
    BOOST_TEST(aborts([] { run(1, 64, 0, wait_at_two_barriers); }));
    BOOST_TEST(aborts([] { run(1, 64, 0, wait_for_ever); }));
    BOOST_TEST(aborts([] { run(1, 32, 0, differ_in_a_warp); }));
    BOOST_TEST(aborts([] { run(1, 32, 0, +[] { __ballot_sync(3, 1); }); }));
    BOOST_TEST(aborts([] {
        unsigned on_host = 0;
        run(1, 1, 0, count_up, &on_host);
    }));
    BOOST_TEST(!aborts([] { run(1, 64, 0, +[] { __syncthreads(); }); }));
}
