#include "core/backend/device.h"

#include <algorithm>
#include <cstring>

#include "core/base/status.h"

namespace speft {

// What the AVX-512 loads and a GPU's coalesced accesses like, and what the allocators are asked for.
constexpr std::uint64_t alignment = 64;

Device::Device(const speft_backend_table &table, const speft_backend_device_options &options,
               const speft_allocator *allocator)
    : table_(table), ordinal_(options.device), stream_(options.stream), allocator_(allocator) {
    speft_backend_failure failure{};
    check(table_.create_device(&options, &device_, &failure), failure);
}

Device::~Device() {
    release_scratch();
    table_.destroy_device(device_);
}

void Device::set_stream(void *stream) {
    speft_backend_failure failure{};
    check(table_.set_stream(device_, stream, &failure), failure);
    stream_ = stream;
}

void Device::synchronize() {
    speft_backend_failure failure{};
    check(table_.synchronize(device_, &failure), failure);
}

void *Device::allocate(std::uint64_t bytes) {
    if (bytes == 0) return nullptr;
    void *memory = allocator_ ? allocator_->allocate(allocator_->user, bytes, alignment, stream_)
                              : table_.allocate(device_, bytes);
    if (!memory)
        throw Failure(SPEFT_OUT_OF_MEMORY, "no memory: cannot allocate " + std::to_string(bytes) + " bytes", table_.name);
    return memory;
}

void Device::deallocate(void *memory, std::uint64_t bytes) noexcept {
    if (!memory) return;
    if (allocator_)
        allocator_->deallocate(allocator_->user, memory, bytes, stream_);
    else
        table_.deallocate(device_, memory, bytes);
}

void Device::copy(void *target, const void *source, std::uint64_t bytes, std::int32_t direction) {
    if (bytes == 0) return;
    speft_backend_failure failure{};
    check(table_.copy(device_, target, source, bytes, direction, &failure), failure);
}

void Device::copy_to_device(void *target, const void *source, std::uint64_t bytes) {
    copy(target, source, bytes, SPEFT_COPY_TO_DEVICE);
}

void Device::copy_to_host(void *target, const void *source, std::uint64_t bytes) {
    copy(target, source, bytes, SPEFT_COPY_TO_HOST);
}

void Device::copy_within(void *target, const void *source, std::uint64_t bytes) {
    copy(target, source, bytes, SPEFT_COPY_WITHIN);
}

void Device::zero(void *memory, std::uint64_t bytes) {
    if (bytes == 0) return;
    speft_backend_failure failure{};
    check(table_.zero(device_, memory, bytes, &failure), failure);
}

const speft_backend_implementation &Device::choose(std::int32_t operation, const void *arguments) const {
    std::uint32_t count = 0;
    const speft_backend_implementation *implementations = table_.implementations(operation, &count);
    std::string reasons;
    for (std::uint32_t index = 0; index < count; ++index) {
        const speft_backend_implementation &implementation = implementations[index];
        if (forced_[operation] && forced_[operation] != implementation.name) continue;
        const char *reason = implementation.refuse(device_, arguments);
        if (!reason) return implementation;
        reasons += (reasons.empty() ? "" : "; ") + std::string(implementation.name) + ": " + reason;
    }
    if (reasons.empty()) reasons = "it has no implementation";
    throw Failure(SPEFT_UNSUPPORTED, std::string("no implementation of ") + operation_names[operation] +
                                         " takes this case (" + reasons + ")", table_.name);
}

std::uint64_t Device::scratch_bytes(const speft_backend_implementation &implementation, const void *arguments) const {
    return implementation.scratch ? implementation.scratch(device_, arguments) : 0;
}

void *Device::reserve_scratch(std::uint64_t bytes) {
    if (bytes > scratch_size_) {
        release_scratch();
        scratch_ = allocate(bytes);
        scratch_size_ = bytes;
    }
    return scratch_;
}

void Device::release_scratch() noexcept {
    deallocate(scratch_, scratch_size_);
    scratch_ = nullptr;
    scratch_size_ = 0;
}

void Device::run(std::int32_t operation, const void *arguments) {
    const Chosen chosen[] = {{operation, &choose(operation, arguments), arguments}};
    run_chosen(chosen);
}

void Device::run_chosen(std::span<const Chosen> all) {
    std::uint64_t most = 0;
    for (const Chosen &chosen : all) most = std::max(most, scratch_bytes(*chosen.implementation, chosen.arguments));
    void *const scratch = reserve_scratch(most);
    for (const Chosen &chosen : all) {
        last_[chosen.operation] = chosen.implementation->name;
        speft_backend_failure failure{};
        check(chosen.implementation->run(device_, chosen.arguments, scratch, &failure), failure);
    }
}

void Device::force_implementation(std::int32_t operation, const char *name) {
    if (!name) {
        forced_[operation] = nullptr;
        return;
    }
    std::string known;
    for (std::int32_t index = 0; const char *candidate = implementation_name(operation, index); ++index) {
        if (std::strcmp(candidate, name) == 0) {
            forced_[operation] = candidate;
            return;
        }
        known += (index ? ", " : "") + std::string(candidate);
    }
    refuse(std::string("implementation of ") + operation_names[operation] + " must be one of " + known + "; got '" +
           name + "'");
}

const char *Device::implementation_name(std::int32_t operation, std::int32_t index) const {
    std::uint32_t count = 0;
    const speft_backend_implementation *implementations = table_.implementations(operation, &count);
    return index >= 0 && static_cast<std::uint32_t>(index) < count ? implementations[index].name : nullptr;
}

void Device::check(speft_status status, const speft_backend_failure &failure) const {
    if (status == SPEFT_OK) return;
    std::string message = failure.message;
    if (message.empty()) message = "the backend failed without a word";
    throw Failure(status, message, table_.name, failure.native_code);
}

}  // namespace speft
