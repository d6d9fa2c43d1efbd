#include "tests/conformance/backends.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <thread>

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "speft/tensor.h"

#ifdef SPEFT_STATIC_CPU
extern "C" const speft_backend_table *speft_cpu_backend_main(std::uint32_t abi_version);
#endif

namespace conformance {
namespace {

// The suite means nothing without its backend, and Boost.Test is not running yet.
[[noreturn]] void give_up(const std::string &why) {
    std::cerr << "conformance: " << why << std::endl;
    std::exit(EXIT_FAILURE);
}

const speft_backend_table *load(const std::string &name) {
#ifdef SPEFT_STATIC_CPU
    if (name == "cpu") return speft_cpu_backend_main(SPEFT_BACKEND_ABI_VERSION);
#endif
    const char *folder = std::getenv("SPEFT_TEST_BACKEND_FOLDER");
    const std::string path =
        std::string(folder ? folder : SPEFT_TEST_BACKEND_FOLDER) + "/libspeft_" + name + ".so";
    void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) give_up(dlerror());
    const auto entry = reinterpret_cast<speft_backend_main_function>(dlsym(library, "speft_backend_main"));
    if (!entry) give_up(path + " has no speft_backend_main");
    const speft_backend_table *table = entry(SPEFT_BACKEND_ABI_VERSION);
    if (!table) give_up(path + " does not speak this version");
    if (entry(SPEFT_BACKEND_ABI_VERSION + 1)) give_up(path + " claims to speak the next version");
    return table;
}

// Sets and restores what a host may do to its own threads.
class HostileEnvironment {
public:
    HostileEnvironment() {
        std::fegetenv(&before_);
        std::fesetround(FE_UPWARD);
#ifdef __SSE__
        _mm_setcsr(_mm_getcsr() | 0x8040u);  // flush to zero, denormals are zero
#endif
    }
    ~HostileEnvironment() { std::fesetenv(&before_); }

private:
    std::fenv_t before_;
};

unsigned read_environment() {
#ifdef __SSE__
    return _mm_getcsr();
#else
    return static_cast<unsigned>(std::fegetround());
#endif
}

// A host's own loop: new threads each time, in the environment that `user` tells.
void run_on_new_threads(void *user, std::int64_t count, void (*body)(void *argument, std::int64_t index),
                        void *argument) {
    std::vector<std::thread> threads;
    for (std::int64_t index = 0; index < count; ++index)
        threads.emplace_back([=] {
            if (*static_cast<const bool *>(user)) {
                const HostileEnvironment hostile;
                body(argument, index);
            } else {
                body(argument, index);
            }
        });
    for (std::thread &thread : threads) thread.join();
}

}  // namespace

const std::vector<const speft_backend_table *> &backends() {
    static const std::vector<const speft_backend_table *> tables = [] {
        std::vector<const speft_backend_table *> loaded;
        const char *asked = std::getenv("SPEFT_TEST_BACKENDS");
        std::istringstream names(asked ? asked : "cpu");
        for (std::string name; std::getline(names, name, ',');) {
            const speft_backend_table *table = load(name);
            const char *reason = "";
            if (table->score(&reason) > 0)
                loaded.push_back(table);
            else
                std::cout << "skipped: " << reason << std::endl;
        }
        return loaded;
    }();
    return tables;
}

std::vector<Settings> find_other_settings() {
    std::vector<Settings> of_threads = {
        {"2 threads", 2},
        {"3 threads", 3},
        {"the host's loop", 3, true},
    };
#ifdef __SANITIZE_THREAD__  // which learns nothing from the others, and takes minutes for them
    return of_threads;
#endif
    of_threads.insert(of_threads.end(), {{"8 threads", 8},
                                         {"as many threads as there are CPUs", 0},
                                         {"the host's loop, hostile", 3, true, true}});
    std::vector<Settings> settings = {
        {"a hostile floating-point environment", 1, false, true},
        {"aligned arrays", 1, false, false, true},
    };
    const auto is_cpu = [](const speft_backend_table *table) { return table->device_type == SPEFT_DEVICE_CPU; };
    if (std::any_of(backends().begin(), backends().end(), is_cpu))
        settings.insert(settings.begin(), of_threads.begin(), of_threads.end());
    return settings;
}

std::vector<Subject> subjects(std::int32_t operation) {
    std::vector<Subject> found;
    for (const speft_backend_table *table : backends()) {
        std::uint32_t count = 0;
        const speft_backend_implementation *list = table->implementations(operation, &count);
        for (std::uint32_t i = 0; i < count; ++i) found.push_back({table, &list[i], i + 1 == count});
    }
    return found;
}

Device::Device(const speft_backend_table &table, const Settings &settings) : table_(table), settings_(settings) {
    const speft_parallel_for loop = {.struct_size = sizeof loop,
                                     .threads = settings_.threads,
                                     .user = const_cast<bool *>(&settings_.hostile),
                                     .run = run_on_new_threads,
                                     .release = nullptr};
    const speft_backend_device_options options = {.struct_size = sizeof options,
                                                  .device = 0,
                                                  .threads = settings_.threads,
                                                  .stream = nullptr,
                                                  .parallel_for = settings_.host_loop ? &loop : nullptr};
    speft_backend_failure failure{};
    const speft_status status = table_.create_device(&options, &device_, &failure);
    BOOST_REQUIRE_MESSAGE(status == SPEFT_OK, failure.message);
}

Device::~Device() { table_.destroy_device(device_); }

namespace {

// What an operation asks for and not a byte more, between guards. It starts as NaNs, and as indices and counts far
// outside of everything.
class Scratch {
public:
    Scratch(Device &device, const Subject &subject, const void *arguments)
        : contents_(subject.implementation->scratch ? subject.implementation->scratch(device.handle(), arguments) : 0,
                    garbage),
          memory_(device, contents_.data(), contents_.size(), alignment) {}
    void *data() const { return contents_.empty() ? nullptr : memory_.data(); }
    void check() { memory_.read(contents_.data()); }

private:
    static constexpr unsigned char garbage = 0xff;
    static constexpr std::uint64_t alignment = 64;

    std::vector<unsigned char> contents_;
    DeviceBytes memory_;
};

}  // namespace

speft_status Device::call(const Subject &subject, const void *arguments, void *scratch,
                          speft_backend_failure &failure) {
    if (!settings_.hostile) return subject.implementation->run(device_, arguments, scratch, &failure);
    const HostileEnvironment hostile;
    const unsigned before = read_environment();
    const speft_status status = subject.implementation->run(device_, arguments, scratch, &failure);
    BOOST_TEST(read_environment() == before, "the host's floating-point environment came back changed");
    return status;
}

speft_status Device::call_and_wait(const Subject &subject, const void *arguments, speft_backend_failure &failure) {
    Scratch scratch(*this, subject, arguments);
    speft_status status = call(subject, arguments, scratch.data(), failure);
    if (status == SPEFT_OK) status = table_.synchronize(device_, &failure);
    scratch.check();
    return status;
}

bool Device::run(const Subject &subject, const void *arguments) {
    if (const char *reason = subject.implementation->refuse(device_, arguments)) {
        BOOST_REQUIRE_MESSAGE(!subject.last, subject << " has to take every case, but says: " << reason);
        BOOST_TEST_MESSAGE("skipped: " << subject << ": " << reason);
        return false;
    }
    speft_backend_failure failure{};
    const speft_status status = call_and_wait(subject, arguments, failure);
    BOOST_REQUIRE_MESSAGE(status == SPEFT_OK, subject << " returns " << status << ": " << failure.message);
    return true;
}

speft_status Device::run_failing(const Subject &subject, const void *arguments, std::string &message) {
    speft_backend_failure failure{};
    const speft_status status = call_and_wait(subject, arguments, failure);
    message = failure.message;
    return status;
}

namespace {

constexpr unsigned char guard_byte = 0xa5;
constexpr std::uint64_t alignment = 64;  // of what a backend allocates

}  // namespace

DeviceBytes::DeviceBytes(Device &device, const void *data, std::uint64_t bytes, std::uint64_t guard)
    : device_(device), bytes_(bytes), guard_(device.settings().aligned ? alignment : guard),
      memory_(static_cast<unsigned char *>(device.table().allocate(device.handle(), bytes + 2 * guard_))) {
    BOOST_REQUIRE(memory_);
    std::vector<unsigned char> image(bytes + 2 * guard_, guard_byte);
    if (bytes > 0) std::memcpy(image.data() + guard_, data, bytes);
    speft_backend_failure failure{};
    BOOST_REQUIRE_EQUAL(device.table().copy(device.handle(), memory_, image.data(), image.size(),
                                            SPEFT_COPY_TO_DEVICE, &failure),
                        SPEFT_OK);
}

DeviceBytes::~DeviceBytes() { device_.table().deallocate(device_.handle(), memory_, bytes_ + 2 * guard_); }

void DeviceBytes::read(void *target) const {
    std::vector<unsigned char> image(bytes_ + 2 * guard_);
    speft_backend_failure failure{};
    BOOST_REQUIRE_EQUAL(device_.table().copy(device_.handle(), image.data(), memory_, image.size(),
                                             SPEFT_COPY_TO_HOST, &failure),
                        SPEFT_OK);
    for (std::uint64_t i = 0; i < guard_; ++i)
        BOOST_REQUIRE_MESSAGE(image[i] == guard_byte && image[guard_ + bytes_ + i] == guard_byte,
                              "an operation wrote outside its array");
    if (bytes_ > 0) std::memcpy(target, image.data() + guard_, bytes_);
}

}  // namespace conformance
