// Runs a piece of a test in a process of its own, which may give up rights, mount file systems or be killed.
#pragma once

#include <exception>
#include <string>

#include <boost/test/unit_test.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/status.h"

namespace speft::testing {

// Forks, runs `work` and leaves without unwinding. Gives what waitpid(2) says.
template <class Work>
int wait_for_child(Work &&work) {
    const pid_t child = fork();
    BOOST_REQUIRE_GE(child, 0);
    if (child == 0) {
        work();
        _exit(0);
    }
    int status = 0;
    BOOST_REQUIRE_EQUAL(waitpid(child, &status, 0), child);
    return status;
}

// Gives the text that `work` returns, in the child, or what it throws; at most as long as a pipe holds.
template <class Work>
std::string ask_child(Work &&work) {
    int ends[2];
    BOOST_REQUIRE_EQUAL(pipe(ends), 0);
    const int status = wait_for_child([&] {
        std::string answer;
        try {
            answer = work();
        } catch (const std::exception &error) {
            answer = std::string("thrown: ") + error.what();
        }
        if (write(ends[1], answer.data(), answer.size()) != static_cast<ssize_t>(answer.size())) _exit(1);
    });
    close(ends[1]);
    std::string answer(65536, '\0');
    const ssize_t length = read(ends[0], answer.data(), answer.size());
    close(ends[0]);
    BOOST_REQUIRE_EQUAL(status, 0);
    BOOST_REQUIRE_GE(length, 0);
    answer.resize(static_cast<std::size_t>(length));
    return answer;
}

// "status native_code: message" of the Failure that `action` throws, "done" when it throws none.
template <class Action>
std::string describe_failure(Action &&action) {
    try {
        action();
        return "done";
    } catch (const Failure &failure) {
        return std::to_string(failure.status()) + " " + std::to_string(failure.native_code()) + ": " +
               failure.what();
    }
}

}  // namespace speft::testing
