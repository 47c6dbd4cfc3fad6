// The default pool, on oneTBB. The only file that includes it.
#include "savedmodel/thread_pool.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

namespace savedmodel {
namespace {

class TbbPool final : public ThreadPool {
 public:
  explicit TbbPool(int num_threads)
      : num_threads_(num_threads > 0 ? num_threads : tbb::info::default_concurrency()),
        allow_(tbb::global_control::max_allowed_parallelism,
               static_cast<size_t>(std::max(num_threads_, tbb::info::default_concurrency()))),
        arena_(num_threads_) {}

  int num_threads() const override { return num_threads_; }

  void Run(int64_t n, FunctionRef<void(int64_t)> fn) override {
    if (num_threads_ == 1 || n <= 1) {
      for (int64_t i = 0; i < n; ++i) fn(i);
      return;
    }
    arena_.execute([&] {
      tbb::parallel_for(
          tbb::blocked_range<int64_t>(0, n, 1),
          [&](const tbb::blocked_range<int64_t>& range) {
            for (int64_t i = range.begin(); i < range.end(); ++i) fn(i);
          },
          tbb::simple_partitioner());
    });
  }

 private:
  const int num_threads_;
  tbb::global_control allow_;
  tbb::task_arena arena_;
};

}  // namespace

ThreadPool::~ThreadPool() = default;

std::shared_ptr<ThreadPool> MakeThreadPool(int num_threads) {
  return std::make_shared<TbbPool>(num_threads);
}

}  // namespace savedmodel
