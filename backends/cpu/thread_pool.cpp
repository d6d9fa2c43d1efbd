#include "backends/cpu/thread_pool.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <exception>
#include <thread>

namespace speft::cpu {
namespace {

std::atomic<ThreadPool *> pool_of_process{nullptr};

// Threads that start while this lives leave the host's signals to the host's own threads.
class SignalsBlocked {
public:
    SignalsBlocked() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &host_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &host_, nullptr); }

private:
    sigset_t host_;
};

}  // namespace

// A forked child has none of its parent's threads, and the pool's mutex may have been held by one of them: the
// parent's pool is left as it is, unused.
ThreadPool &ThreadPool::get() {
    const pid_t process = getpid();
    ThreadPool *pool = pool_of_process.load(std::memory_order_acquire);
    while (!pool || pool->process_ != process) {
        auto *fresh = new ThreadPool(process);
        if (pool_of_process.compare_exchange_strong(pool, fresh)) return *fresh;
        delete fresh;
    }
    return *pool;
}

void ThreadPool::run(Job &job, int helpers) {
    Request request{.job = job, .wanted = helpers};
    {
        const std::lock_guard lock(mutex_);
        append(request);
        wanted_ += helpers;
        grow();
    }
    posted_.notify_all();
    job.work();
    std::unique_lock lock(mutex_);
    if (request.wanted > 0) {
        wanted_ -= request.wanted;
        remove(request);
    }
    request.left.wait(lock, [&] { return request.working == 0; });
}

// With `mutex_` held, as the two below.
void ThreadPool::append(Request &request) {
    Request **place = &first_;
    while (*place) place = &(*place)->next;
    *place = &request;
}

void ThreadPool::remove(Request &request) {
    Request **place = &first_;
    while (*place != &request) place = &(*place)->next;
    *place = request.next;
}

// Where the system gives no more threads, or no memory for one, fewer do the same work.
void ThreadPool::grow() {
    const SignalsBlocked blocked;
    try {
        for (; free_ < wanted_; ++free_) std::thread([this] { serve(); }).detach();
    } catch (const std::exception &) {
    }
}

void ThreadPool::serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
        posted_.wait(lock, [&] { return first_ != nullptr; });
        Request &request = *first_;
        if (--request.wanted == 0) remove(request);
        --wanted_;
        --free_;
        ++request.working;
        lock.unlock();
        request.job.work();
        lock.lock();
        ++free_;
        if (--request.working == 0) request.left.notify_one();
    }
}

}  // namespace speft::cpu
