// Arithmetic must not depend on what the host did to its threads' floating-point environment (flush to zero, another
// rounding), nor leave flags behind in it.
#pragma once

#include <cfenv>

namespace speft {

// While it lives, this thread rounds to nearest and keeps denormals; then the host's environment is back.
class FloatingPointScope {
public:
    FloatingPointScope() {
        std::fegetenv(&host_);
        std::fesetenv(FE_DFL_ENV);
    }
    ~FloatingPointScope() { std::fesetenv(&host_); }
    FloatingPointScope(const FloatingPointScope &) = delete;
    FloatingPointScope &operator=(const FloatingPointScope &) = delete;

private:
    std::fenv_t host_;
};

}  // namespace speft
