// What is wrong with the content of a file, said by code that does not know which file it is. Whoever knows turns it
// into a Failure; it never leaves this folder.
#pragma once

#include <stdexcept>

namespace speft {

class Defect : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

}  // namespace speft
