// The header in a program without RTTI, as closed frameworks are: it compiles, and errors keep their class.
#include <speft/speft.hpp>

bool find_missing_file_without_rtti() {
    speft::Context context{speft::ContextOptions{}};
    try {
        speft::Adapter::load(context, "no such file");
    } catch (const speft::io_failure &failure) {
        return failure.status() == SPEFT_IO;
    }
    return false;
}
