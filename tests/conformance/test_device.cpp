// The table itself: devices, memory, lists of implementations, refusals, threads.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <filesystem>
#include <iterator>
#include <set>
#include <thread>

#include "speft/gradient.h"
#include "speft/tensor.h"
#include "tests/conformance/segments.h"

namespace data = boost::unit_test::data;
using namespace conformance;

namespace {

struct Named {
    const speft_backend_table *table;
    friend std::ostream &operator<<(std::ostream &out, const Named &named) { return out << named.table->name; }
};

std::vector<Named> tables() {
    std::vector<Named> all;
    for (const speft_backend_table *table : backends()) all.push_back({table});
    return all;
}

std::vector<Named> cpu_tables() {
    std::vector<Named> found;
    for (const Named &named : tables())
        if (named.table->device_type == SPEFT_DEVICE_CPU) found.push_back(named);
    return found;
}

struct Refusal {
    const char *name;
    speft_status status;
    const char *word;  // that the message has
    speft_backend_device_options options;
    friend std::ostream &operator<<(std::ostream &out, const Refusal &refusal) { return out << refusal.name; }
};

void run_nothing(void *, std::int64_t, void (*)(void *, std::int64_t), void *) {}

const speft_parallel_for threadless = {sizeof threadless, 0, nullptr, run_nothing, nullptr};
const speft_parallel_for functionless = {sizeof functionless, 2, nullptr, nullptr, nullptr};
constexpr std::uint32_t options_size = sizeof(speft_backend_device_options);
int some_stream;

const std::vector<Refusal> refusals = {
    {"another device", SPEFT_INVALID_ARGUMENT, "device", {options_size, 1, 0, nullptr, nullptr}},
    {"a negative device", SPEFT_INVALID_ARGUMENT, "device", {options_size, -1, 0, nullptr, nullptr}},
    {"negative threads", SPEFT_INVALID_ARGUMENT, "threads", {options_size, 0, -2, nullptr, nullptr}},
    {"a stream", SPEFT_UNSUPPORTED, "stream", {options_size, 0, 0, &some_stream, nullptr}},
    {"a loop without threads", SPEFT_INVALID_ARGUMENT, "parallel_for", {options_size, 0, 0, nullptr, &threadless}},
    {"a loop without function", SPEFT_INVALID_ARGUMENT, "parallel_for", {options_size, 0, 0, nullptr, &functionless}},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(device)

BOOST_DATA_TEST_CASE(lists_implementations, data::make(tables()), named) {
    const speft_backend_table &table = *named.table;
    BOOST_TEST(table.struct_size == sizeof table);
    BOOST_TEST(table.abi_version == std::uint32_t{SPEFT_BACKEND_ABI_VERSION});
    for (std::int32_t operation = 0; operation < SPEFT_OPERATION_COUNT; ++operation) {
        std::uint32_t count = 0;
        const speft_backend_implementation *list = table.implementations(operation, &count);
        BOOST_TEST_REQUIRE(count > 0u);
        std::set<std::string> names;
        for (std::uint32_t i = 0; i < count; ++i) names.insert(list[i].name);
        BOOST_TEST(names.size() == count);
        if (table.device_type == SPEFT_DEVICE_CPU) BOOST_TEST(list[count - 1].name == std::string("reference"));
    }
    for (const std::int32_t unknown : {-1, static_cast<std::int32_t>(SPEFT_OPERATION_COUNT)}) {
        std::uint32_t count = 77;
        BOOST_TEST(table.implementations(unknown, &count) == nullptr);
        BOOST_TEST(count == 0u);
    }
}

BOOST_DATA_TEST_CASE(refuses, data::make(cpu_tables()) * data::make(refusals), named, refusal) {
    speft_backend_failure failure{};
    speft_backend_device *device = nullptr;
    BOOST_TEST(named.table->create_device(&refusal.options, &device, &failure) == refusal.status);
    BOOST_TEST(device == nullptr);
    BOOST_TEST(std::string(failure.message).find(refusal.word) != std::string::npos, failure.message);
}

BOOST_DATA_TEST_CASE(has_no_streams, data::make(cpu_tables()), named) {
    Device device(*named.table);
    speft_backend_failure failure{};
    BOOST_TEST(named.table->set_stream(device.handle(), nullptr, &failure) == SPEFT_OK);
    BOOST_TEST(named.table->set_stream(device.handle(), &some_stream, &failure) == SPEFT_UNSUPPORTED);
    BOOST_TEST(std::string(failure.message).find("stream") != std::string::npos);
}

BOOST_DATA_TEST_CASE(allocates_aligned_memory, data::make(tables()), named) {
    Device device(*named.table);
    for (const std::uint64_t bytes : {0, 1, 63, 64, 65, 1000003}) {
        void *memory = named.table->allocate(device.handle(), bytes);
        BOOST_TEST(reinterpret_cast<std::uintptr_t>(memory) % 64 == 0u);
        BOOST_TEST((memory != nullptr || bytes == 0));
        named.table->deallocate(device.handle(), memory, bytes);
    }
    BOOST_TEST(named.table->allocate(device.handle(), UINT64_MAX) == nullptr);
    named.table->deallocate(device.handle(), nullptr, 0);
}

BOOST_DATA_TEST_CASE(copies_and_zeroes, data::make(tables()), named) {
    Device device(*named.table);
    const std::vector<float> values = make_values(1000, Values::special, 1);
    const DeviceArray<float> a(device, values), b(device, std::vector<float>(1000));
    speft_backend_failure failure{};
    BOOST_TEST(named.table->copy(device.handle(), b.data(), a.data(), 4000, SPEFT_COPY_WITHIN, &failure) == SPEFT_OK);
    check_same(b.read(), values);
    BOOST_TEST(named.table->zero(device.handle(), b.data(), 4000, &failure) == SPEFT_OK);
    check_same(b.read(), std::vector<float>(1000));
    BOOST_TEST(named.table->copy(device.handle(), nullptr, nullptr, 0, SPEFT_COPY_TO_HOST, &failure) == SPEFT_OK);
    BOOST_TEST(named.table->zero(device.handle(), nullptr, 0, &failure) == SPEFT_OK);
}

namespace {

// Memory that nobody may touch.
class ForbiddenPage {
public:
    ForbiddenPage() : start_(mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
        BOOST_REQUIRE(start_ != MAP_FAILED);
    }
    ~ForbiddenPage() { munmap(start_, size); }
    ForbiddenPage(const ForbiddenPage &) = delete;
    ForbiddenPage &operator=(const ForbiddenPage &) = delete;

    template <class Element>
    operator Element *() const {
        return static_cast<Element *>(start_);
    }

private:
    static constexpr std::size_t size = 4096;
    void *start_;
};

}  // namespace

// A memory plan asks what an operation would need before there are tensors.
BOOST_DATA_TEST_CASE(asks_sizes_and_types_alone, data::make(tables()), named) {
    const Device device(*named.table);
    const ForbiddenPage elements;
    const auto ask = [&](std::int32_t operation, const auto &arguments) {
        for (const Subject &subject : subjects(operation)) {
            if (subject.table != named.table) continue;
            const char *reason = subject.implementation->refuse(device.handle(), &arguments);
            BOOST_TEST((reason == nullptr || !subject.last));
            if (reason || !subject.implementation->scratch) continue;
            const std::uint64_t bytes = subject.implementation->scratch(device.handle(), &arguments);
            BOOST_TEST(bytes == subject.implementation->scratch(device.handle(), &arguments), subject);
        }
    };
    constexpr std::uint64_t rows = 1000, columns = 600, count = rows * columns, k = 3000;
    std::uint64_t on_host[2];
    for (const std::int32_t type : scalar_types) {
        ask(SPEFT_OPERATION_ADD_VALUES, speft_add_values{elements, elements, elements, k, type, 1});
        for (const std::uint32_t *indices : {static_cast<const std::uint32_t *>(elements), {}})
            ask(SPEFT_OPERATION_ADD_PRODUCT,
                speft_add_product{elements, elements, elements, indices, indices ? k : count, 512, columns, rows,
                                  type, type, SPEFT_LAYOUT_OUT_IN, 1});
        const speft_score score = {elements, elements, count, type, SPEFT_SCORE_ABS_PRODUCT, 1};
        ask(SPEFT_OPERATION_SELECT_TOP,
            speft_select_top{&score, 1, k, elements, &on_host[0], &on_host[1], nullptr});
        ask(SPEFT_OPERATION_SELECT_ROWS,
            speft_select_rows{score, rows, 3, elements, &on_host[0], &on_host[1], nullptr});
        const speft_segment segment = {elements, k, elements, elements, elements, type, SPEFT_SCALAR_FLOAT32, 0, 0};
        ask(SPEFT_OPERATION_MERGE, speft_merge_segments{&segment, 1, on_host});
        const speft_quantized_blocks quantized = {elements, nullptr, elements, elements, elements,
                                                  elements, elements, count, 64, 256, SPEFT_CODING_LEVELS4, 0};
        for (const std::int32_t transposed : {0, 1})
            for (const std::uint64_t tokens : {1, 16, 2000})
                ask(SPEFT_OPERATION_MULTIPLY_QUANTIZED,
                    speft_multiply_quantized{elements, elements, quantized, elements, elements, k, tokens, rows,
                                             columns, type, type, SPEFT_SCALAR_FLOAT32, transposed, 0, 1});
    }
    ask(SPEFT_OPERATION_SELECT_RANDOM, speft_select_random{42, count, 1, k, 0, elements, on_host});
}

// A defect inside a task, here a type that does not exist, comes back as a status; the device still works.
BOOST_DATA_TEST_CASE(survives_a_failing_task, data::make(cpu_tables()) * data::make(other_settings), named,
                     settings) {
    Device device(*named.table, settings);
    HostSegment host = make_segment(20000, SPEFT_SCALAR_FLOAT32, Values::ordinary, false, Deltas::float32, 1);
    const DeviceSegments placed(device, {host});
    speft_segment segment = placed.views[0];
    std::uint64_t differing = 0;
    const speft_merge_segments arguments = {.segments = &segment, .count = 1, .differing = &differing};
    const Subject subject = subjects(SPEFT_OPERATION_MERGE).back();
    for (int round = 0; round < 3; ++round) {
        segment.weights_type = 99;
        std::string message;
        BOOST_TEST(device.run_failing(subject, &arguments, message) == SPEFT_INTERNAL);
        BOOST_TEST(message.find("99") != std::string::npos);
        segment.weights_type = SPEFT_SCALAR_FLOAT32;
        BOOST_TEST(device.run(subject, &arguments));
    }
    host.merge();
    check_same(placed.segments[0]->weights.read(), host.weights);
}

namespace {

// Sums the squares of 0 … 69,999 twenty times; every partial sum is exact.
bool sums_right(const speft_backend_table &table, speft_backend_device *device) {
    std::vector<float> values(70000);
    double expected = 0;
    for (std::uint64_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(i);
        expected += static_cast<double>(i) * static_cast<double>(i);
    }
    const float *pointer = values.data();
    const std::uint64_t count = values.size();
    double sum = 0;
    const speft_sum_squares arguments = {.values = &pointer, .counts = &count, .arrays = 1, .sum = &sum};
    std::uint32_t implementations = 0;
    const speft_backend_implementation &first =
        *table.implementations(SPEFT_OPERATION_SUM_SQUARES, &implementations);
    const std::uint64_t bytes = first.scratch ? first.scratch(device, &arguments) : 0;
    void *const scratch = table.allocate(device, bytes);
    speft_backend_failure failure{};
    bool right = true;
    for (int round = 0; round < 20; ++round) {
        sum = 0;
        right = right && first.run(device, &arguments, scratch, &failure) == SPEFT_OK && sum == expected;
    }
    table.deallocate(device, scratch, bytes);
    return right;
}

// Of this process, as Linux lists them.
std::ptrdiff_t count_threads() {
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
}

}  // namespace

BOOST_DATA_TEST_CASE(devices_run_side_by_side, data::make(cpu_tables()), named) {
    std::array<bool, 6> right{};
    std::vector<std::thread> callers;
    for (std::size_t caller = 0; caller < right.size(); ++caller)
        callers.emplace_back([&, caller] {
            const speft_backend_device_options options = {.struct_size = sizeof options,
                                                          .device = 0,
                                                          .threads = static_cast<std::int32_t>(caller),
                                                          .stream = nullptr,
                                                          .parallel_for = nullptr};
            speft_backend_failure failure{};
            speft_backend_device *device = nullptr;
            if (named.table->create_device(&options, &device, &failure) != SPEFT_OK) return;
            right[caller] = sums_right(*named.table, device);
            named.table->destroy_device(device);
        });
    for (std::thread &caller : callers) caller.join();
    for (const bool each : right) BOOST_TEST(each);
}

// A forked child has none of its parent's threads: it must not wait for them, and must have some of its own.
BOOST_DATA_TEST_CASE(works_in_a_forked_child, data::make(cpu_tables()), named) {
    Device device(*named.table, other_settings[1]);
    BOOST_TEST_REQUIRE(sums_right(*named.table, device.handle()));
    const pid_t child = fork();
    BOOST_TEST_REQUIRE(child >= 0);
    if (child == 0) {
        alarm(120);  // a child that waits for ever is a failure
        const bool right = sums_right(*named.table, device.handle());
        _exit(right && count_threads() >= other_settings[1].threads ? 0 : 1);
    }
    int status = -1;
    BOOST_TEST_REQUIRE(waitpid(child, &status, 0) == child);
    BOOST_TEST(status == 0);
    BOOST_TEST(sums_right(*named.table, device.handle()));
}

BOOST_AUTO_TEST_SUITE_END()
