// The backends under test, their devices, and arrays on them.
#pragma once

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <string>
#include <vector>

#include "speft/backend.h"

namespace conformance {

// Every table that SPEFT_TEST_BACKENDS names ("cpu" when it is not set; "cpu,cuda"), loaded once from the folder that
// the build or SPEFT_TEST_BACKEND_FOLDER gives. A backend that cannot run here is skipped with a line that says so.
const std::vector<const speft_backend_table *> &backends();

// One way of a backend to run one operation.
struct Subject {
    const speft_backend_table *table;
    const speft_backend_implementation *implementation;
    bool last;  // the reference, which has to take every case

    friend std::ostream &operator<<(std::ostream &out, const Subject &subject) {
        return out << subject.table->name << '/' << subject.implementation->name;
    }
};

std::vector<Subject> subjects(std::int32_t operation);

// What a host may vary and no answer may depend on.
struct Settings {
    const char *name;
    int threads;
    bool host_loop = false;
    bool hostile = false;  // the caller's threads flush denormals to zero and round upward
    bool aligned = false;  // arrays begin where vectors may be loaded; else at any element

    friend std::ostream &operator<<(std::ostream &out, const Settings &settings) { return out << settings.name; }
};

inline constexpr Settings one_thread{"1 thread", 1};
// All of them, or where no backend under test runs on the CPU's threads those that any may depend on.
std::vector<Settings> find_other_settings();
inline const std::vector<Settings> other_settings = find_other_settings();

class Device {
public:
    explicit Device(const speft_backend_table &table, const Settings &settings = one_thread);
    ~Device();
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    const speft_backend_table &table() const { return table_; }
    speft_backend_device *handle() const { return device_; }
    const Settings &settings() const { return settings_; }

    // False when the implementation does not take this case; requires SPEFT_OK otherwise.
    bool run(const Subject &subject, const void *arguments);
    // The status and the message of a case that is taken but fails.
    speft_status run_failing(const Subject &subject, const void *arguments, std::string &message);

private:
    speft_status call(const Subject &subject, const void *arguments, void *scratch, speft_backend_failure &failure);
    speft_status call_and_wait(const Subject &subject, const void *arguments, speft_backend_failure &failure);

    const speft_backend_table &table_;
    const Settings settings_;
    speft_backend_device *device_ = nullptr;
};

// Bytes on a device between two guards. A guard of one element also keeps vectors from being aligned, unless the
// device's settings want them to be.
class DeviceBytes {
public:
    DeviceBytes(Device &device, const void *data, std::uint64_t bytes, std::uint64_t guard);
    ~DeviceBytes();
    DeviceBytes(const DeviceBytes &) = delete;
    DeviceBytes &operator=(const DeviceBytes &) = delete;

    void *data() const { return memory_ + guard_; }
    // Also checks that the guards are as they were.
    void read(void *target) const;

private:
    Device &device_;
    std::uint64_t bytes_;
    std::uint64_t guard_;
    unsigned char *memory_;
};

template <class Element>
class DeviceArray {
public:
    DeviceArray(Device &device, const std::vector<Element> &values)
        : count_(values.size()),
          bytes_(device, values.data(), values.size() * sizeof(Element), sizeof(Element)) {}

    Element *data() const { return static_cast<Element *>(bytes_.data()); }
    std::vector<Element> read() const {
        std::vector<Element> values(count_);
        bytes_.read(values.data());
        return values;
    }

private:
    std::uint64_t count_;
    DeviceBytes bytes_;
};

}  // namespace conformance
