// The threads of this process that run tasks for every CPU device in it. They sleep between jobs.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <mutex>

#include "backends/cpu/job.h"

namespace speft::cpu {

class ThreadPool {
public:
    // The one pool of this process. It is never destroyed, since its threads may outlive main.
    static ThreadPool &get();

    // Works on the job with the calling thread and up to `helpers` of the pool's; returns when all have left it.
    // Jobs of several callers run side by side.
    void run(Job &job, int helpers);

private:
    // A job that is being run: how many more helpers may join, and how many are at it.
    struct Request {
        Job &job;
        int wanted;
        int working = 0;
        Request *next = nullptr;
        std::condition_variable left{};
    };

    explicit ThreadPool(pid_t process) : process_(process) {}
    void append(Request &request);
    void remove(Request &request);
    void grow();
    void serve();

    const pid_t process_;
    std::mutex mutex_;
    std::condition_variable posted_;
    Request *first_ = nullptr;  // of those that still want helpers: a list without memory, so that a job cannot fail
                                // to start when half of an operation is done
    int wanted_ = 0;            // by all of them together
    int free_ = 0;              // threads that are not at a job
};

}  // namespace speft::cpu
