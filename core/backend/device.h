// One device of one backend: its memory, and its operations by their argument structs.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/backend/operation.h"
#include "speft/backend.h"
#include "speft/tensor.h"

namespace speft {

class Device {
public:
    // `allocator` may be NULL; it must outlive the device.
    Device(const speft_backend_table &table, const speft_backend_device_options &options,
           const speft_allocator *allocator);
    ~Device();
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    const speft_backend_table &table() const { return table_; }
    // Whether tensors that lie on `device` can be used.
    bool holds(speft_device device) const { return device.type == table_.device_type && device.id == ordinal_; }
    speft_device location() const { return {table_.device_type, ordinal_}; }

    void set_stream(void *stream);
    void synchronize();

    // Not initialized; throws OUT_OF_MEMORY.
    void *allocate(std::uint64_t bytes);
    void deallocate(void *memory, std::uint64_t bytes) noexcept;
    void copy_to_device(void *target, const void *source, std::uint64_t bytes);
    void copy_to_host(void *target, const void *source, std::uint64_t bytes);
    void copy_within(void *target, const void *source, std::uint64_t bytes);
    void zero(void *memory, std::uint64_t bytes);

    // Runs the first implementation that accepts the case; UNSUPPORTED with each one's reason when none does.
    template <class Arguments>
    void run(const Arguments &arguments) {
        static_assert(operation_of<Arguments> >= 0);
        run(operation_of<Arguments>, &arguments);
    }

    // Bytes of scratch that `run` would need, of which nothing but sizes and types is known yet.
    template <class Arguments>
    std::uint64_t scratch_bytes(const Arguments &arguments) const {
        static_assert(operation_of<Arguments> >= 0);
        return scratch_bytes(choose(operation_of<Arguments>, &arguments), &arguments);
    }
    // One after the other, as several that write to one target: none is without an implementation, or without scratch,
    // once another has run.
    template <class... Arguments>
    void run_all(const Arguments &...arguments) {
        const Chosen all[] = {{operation_of<Arguments>, &choose(operation_of<Arguments>, &arguments), &arguments}...};
        run_chosen(all);
    }
    // Scratch is kept from one operation to the next, since allocating it afresh costs as much as some of them; here
    // it is given back.
    void release_scratch() noexcept;

    // Which implementation ran an operation last (NULL: it has not run); to force one by name, or none with NULL.
    const char *last_implementation(std::int32_t operation) const { return last_[operation]; }
    void force_implementation(std::int32_t operation, const char *name);
    // NULL past the last.
    const char *implementation_name(std::int32_t operation, std::int32_t index) const;

private:
    struct Chosen {
        std::int32_t operation;
        const speft_backend_implementation *implementation;
        const void *arguments;
    };
    void run_chosen(std::span<const Chosen> all);
    void run(std::int32_t operation, const void *arguments);
    const speft_backend_implementation &choose(std::int32_t operation, const void *arguments) const;
    std::uint64_t scratch_bytes(const speft_backend_implementation &implementation, const void *arguments) const;
    void *reserve_scratch(std::uint64_t bytes);
    void copy(void *target, const void *source, std::uint64_t bytes, std::int32_t direction);
    void check(speft_status status, const speft_backend_failure &failure) const;

    const speft_backend_table &table_;
    std::int32_t ordinal_;
    void *stream_;
    const speft_allocator *allocator_;
    speft_backend_device *device_ = nullptr;
    void *scratch_ = nullptr;
    std::uint64_t scratch_size_ = 0;
    const char *forced_[SPEFT_OPERATION_COUNT] = {};
    const char *last_[SPEFT_OPERATION_COUNT] = {};
};

}  // namespace speft
