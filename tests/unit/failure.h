// What a call of the core threw.
#pragma once

#include <string>

#include "core/base/status.h"

struct Caught {
    speft_status status = SPEFT_OK;
    std::string message;
};

template <class Body>
Caught failure_of(Body &&body) {
    try {
        body();
        return {};
    } catch (const speft::Failure &failure) {
        return {failure.status(), failure.what()};
    }
}
