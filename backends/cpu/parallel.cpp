#include "backends/cpu/parallel.h"

#include "backends/cpu/thread_pool.h"

namespace speft::cpu {

void run_tasks(const speft_backend_device &device, std::int64_t count, Job::Body body, void *argument) {
    Job job(count, body, argument);
    const int threads = static_cast<int>(std::min<std::int64_t>(device.threads, count));
    if (threads <= 1)
        job.work();
    else if (device.host_loop.run)
        device.host_loop.run(
            device.host_loop.user, threads, [](void *shared, std::int64_t) { static_cast<Job *>(shared)->work(); },
            &job);
    else
        ThreadPool::get().run(job, threads - 1);
    job.rethrow();
}

}  // namespace speft::cpu
