// The opaque handles, and what a call on one does first.
#pragma once

#include <memory>
#include <string>

#include "capi/src/structs.h"
#include "core/adapter/adapter.h"
#include "core/adapter/context.h"
#include "core/basis/basis.h"

struct speft_context {
    std::shared_ptr<speft::Context> inner;
};

struct speft_adapter {
    std::shared_ptr<speft::Adapter> inner;
};

struct speft_basis {
    std::shared_ptr<speft::Basis> inner;
};

namespace speft {

// A call on a context: keeps it alive though its handle is destroyed meanwhile, and takes the turn.
class ContextCall {
public:
    explicit ContextCall(speft_context *handle) : context_(require(handle, "context")->inner), turn_(*context_) {}
    Context *operator->() const { return context_.get(); }
    const std::shared_ptr<Context> &context() const { return context_; }

private:
    std::shared_ptr<Context> context_;
    Turn turn_;
};

// A parameter's position, checked.
inline std::size_t position_of(const Adapter &adapter, std::int64_t parameter) {
    const std::size_t count = adapter.parameters().size();
    if (parameter < 0 || static_cast<std::uint64_t>(parameter) >= count)
        refuse("parameter must be between 0 and " + std::to_string(count - 1) + "; got " + std::to_string(parameter));
    return static_cast<std::size_t>(parameter);
}

// A call on an adapter likewise.
class AdapterCall {
public:
    explicit AdapterCall(speft_adapter *handle)
        : adapter_(require(handle, "adapter")->inner), turn_(adapter_->context()) {}
    Adapter *operator->() const { return adapter_.get(); }

    std::size_t position(std::int64_t parameter) const { return position_of(*adapter_, parameter); }

private:
    std::shared_ptr<Adapter> adapter_;
    Turn turn_;
};

// And for a basis.
class BasisCall {
public:
    explicit BasisCall(speft_basis *handle) : basis_(require(handle, "basis")->inner), turn_(basis_->context()) {}
    Basis *operator->() const { return basis_.get(); }
    Basis &operator*() const { return *basis_; }

private:
    std::shared_ptr<Basis> basis_;
    Turn turn_;
};

}  // namespace speft
