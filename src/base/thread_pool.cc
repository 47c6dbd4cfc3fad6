// The default pool. Kernels hand over loops of a few microseconds, so handing over must cost far
// less than that: the workers look for work in a few places that callers write to, and keep looking
// for a while before they sleep. All pools of a process share the workers; a pool is a limit.
#include "savedmodel/thread_pool.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "src/base/pause.h"

namespace savedmodel {
namespace {

// How often a worker looks before it sleeps: some tens of microseconds, more than lie between two
// loops of a model. Waking a sleeper takes as long again.
constexpr int kLooks = 2000;
// Loops that run at a time with help; a caller that finds no room works alone.
constexpr int kRooms = 16;

// A loop that is being run. Each thread has a share of the indices, the same of all loops with as
// many: what a thread wrote in one loop is in its cache when it reads that in the next. Who is done
// takes from the others' shares.
class Loop {
 public:
  Loop(FunctionRef<void(int64_t)> fn, int64_t n, int threads)
      : fn_(fn), threads_(std::min<int>(threads, kShares)) {
    for (int i = 0; i < threads_; ++i) {
      shares_[i].next.store(n * i / threads_, std::memory_order_relaxed);
      shares_[i].end = n * (i + 1) / threads_;
    }
  }

  // Takes part as thread `thread` until no index is left.
  void Work(int thread) {
    for (int i = 0; i < threads_; ++i) {
      Share& share = shares_[(thread + i) % threads_];
      for (int64_t at; (at = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) {
        try {
          fn_(at);
        } catch (...) {
          Fail();
        }
      }
    }
  }

  void RethrowError() const {
    if (error_ != nullptr) std::rethrow_exception(error_);
  }

 private:
  static constexpr int kShares = 64;  // more threads than that share a share
  struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t end;
  };

  void Fail() {
    if (!failed_.exchange(true)) error_ = std::current_exception();
    for (int i = 0; i < threads_; ++i) {
      shares_[i].next.store(shares_[i].end, std::memory_order_relaxed);
    }
  }

  const FunctionRef<void(int64_t)> fn_;
  const int threads_;
  Share shares_[kShares];
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;  // the first that `fn` threw
};

// Where a loop is offered. Its caller leaves only when no helper is inside.
struct alignas(64) Room {
  static constexpr uint32_t kTaken = 1u << 31;  // a caller has it
  static constexpr uint32_t kOpen = 1u << 30;   // helpers may enter
  std::atomic<uint32_t> state{0};               // the bits above, and the number of helpers inside
  std::atomic<uint32_t> seats{0};
  Loop* loop = nullptr;

  // Helps as thread `thread`. False when there is nothing to do here.
  bool Help(int thread) {
    uint32_t s = state.load(std::memory_order_relaxed);
    do {
      if ((s & kOpen) == 0 || (s & ~(kTaken | kOpen)) >= seats.load(std::memory_order_relaxed)) {
        return false;
      }
    } while (!state.compare_exchange_weak(s, s + 1, std::memory_order_acquire,
                                          std::memory_order_relaxed));
    loop->Work(thread);
    state.fetch_and(~kOpen, std::memory_order_relaxed);
    state.fetch_sub(1, std::memory_order_release);
    return true;
  }
};

class Workers {
 public:
  // Those of the process, which live as long as a pool does.
  static std::shared_ptr<Workers> Shared() {
    static std::mutex* const mutex = new std::mutex;
    static std::weak_ptr<Workers>* const shared = new std::weak_ptr<Workers>;
    std::lock_guard<std::mutex> lock(*mutex);
    std::shared_ptr<Workers> workers = shared->lock();
    if (workers == nullptr) *shared = workers = std::make_shared<Workers>();
    return workers;
  }

  ~Workers() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  int num_looking() const { return looking_.load(std::memory_order_relaxed); }

  // Runs the loop on the calling thread and at most `helpers` others.
  void Run(int helpers, int64_t n, FunctionRef<void(int64_t)> fn) {
    if (started_.load(std::memory_order_acquire) < helpers) Start(helpers);
    Loop loop(fn, n, helpers + 1);
    callers_.fetch_add(1, std::memory_order_relaxed);
    Room* room = Offer(&loop, static_cast<int>(std::min<int64_t>(helpers, n - 1)));
    loop.Work(0);
    if (room != nullptr) Withdraw(room);
    callers_.fetch_sub(1, std::memory_order_relaxed);
    loop.RethrowError();
  }

 private:
  void Start(int count) {
    std::lock_guard<std::mutex> lock(mutex_);
    try {
      while (static_cast<int>(threads_.size()) < count) {
        const int thread = static_cast<int>(threads_.size()) + 1;
        threads_.emplace_back([this, thread] { Serve(thread); });
      }
    } catch (const std::system_error&) {  // no more threads to be had: those there are must do
    }
    started_.store(count, std::memory_order_release);
  }

  // Null where nobody could help: all processors have loops to run.
  Room* Offer(Loop* loop, int helpers) {
    if (callers_.load(std::memory_order_relaxed) >= processors_) return nullptr;
    for (Room& room : rooms_) {
      uint32_t free = 0;
      if (room.state.load(std::memory_order_relaxed) != free ||
          !room.state.compare_exchange_strong(free, Room::kTaken, std::memory_order_acquire)) {
        continue;
      }
      room.loop = loop;
      room.seats.store(static_cast<uint32_t>(helpers), std::memory_order_relaxed);
      room.state.store(Room::kTaken | Room::kOpen, std::memory_order_release);
      offers_.fetch_add(1);  // before `asleep_` is read: a worker does it the other way round
      const int sleepers = asleep_.load();
      if (sleepers > 0) Wake(std::min(sleepers, helpers - looking_.load()));
      return &room;
    }
    return nullptr;
  }

  void Wake(int count) {
    if (count <= 0) return;
    { std::lock_guard<std::mutex> lock(mutex_); }  // one that is about to sleep does so first
    for (int i = 0; i < count; ++i) wake_.notify_one();
  }

  static void Withdraw(Room* room) {
    uint32_t s = room->state.fetch_and(~Room::kOpen, std::memory_order_acquire);
    for (int looks = 0; (s & ~(Room::kTaken | Room::kOpen)) != 0; ++looks) {
      if (looks < kLooks) {
        Pause();
      } else {
        std::this_thread::yield();
      }
      s = room->state.load(std::memory_order_acquire);
    }
    room->state.store(0, std::memory_order_release);
  }

  // Helps one caller, unless the processor is full of them. False when there is nothing to do.
  bool HelpSomebody(int thread) {
    const int helpers = helpers_.fetch_add(1, std::memory_order_relaxed);
    const bool helped =
        helpers + callers_.load(std::memory_order_relaxed) < processors_ &&
        std::any_of(rooms_.begin(), rooms_.end(), [&](Room& room) { return room.Help(thread); });
    helpers_.fetch_sub(1, std::memory_order_relaxed);
    return helped;
  }

  // Whether those who run loops, and those who look for some, leave a processor to each other.
  bool HasProcessor() const {
    return callers_.load(std::memory_order_relaxed) + helpers_.load(std::memory_order_relaxed) +
               looking_.load(std::memory_order_relaxed) <=
           processors_;
  }

  void Serve(int thread) {
    uint32_t seen = offers_.load();
    looking_.fetch_add(1);
    for (;;) {
      looking_.fetch_sub(1);
      while (HelpSomebody(thread)) {
      }
      looking_.fetch_add(1);
      int looks = 0;
      while (looks < kLooks && offers_.load(std::memory_order_relaxed) == seen && HasProcessor()) {
        Pause();
        ++looks;
      }
      if (offers_.load(std::memory_order_relaxed) == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        looking_.fetch_sub(1);
        asleep_.fetch_add(1);
        wake_.wait(lock, [&] { return stopping_ || offers_.load() != seen; });
        asleep_.fetch_sub(1);
        looking_.fetch_add(1);
        if (stopping_) return;
      }
      seen = offers_.load();
    }
  }

  const int processors_ = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::array<Room, kRooms> rooms_;
  alignas(64) std::atomic<uint32_t> offers_{0};  // so many loops have been offered
  alignas(64) std::atomic<int> callers_{0};      // threads that run loops of their own
  std::atomic<int> helpers_{0};                  // workers that run others'
  std::atomic<int> looking_{0}, asleep_{0};      // workers
  std::atomic<int> started_{0};                  // workers that were asked for
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

class SharedPool final : public ThreadPool {
 public:
  explicit SharedPool(int num_threads)
      : num_threads_(num_threads > 0
                         ? num_threads
                         : std::max(1, static_cast<int>(std::thread::hardware_concurrency()))) {}

  int num_threads() const override { return num_threads_; }
  int num_awake() const override { return std::min(num_threads_, 1 + workers_->num_looking()); }

  void Run(int64_t n, FunctionRef<void(int64_t)> fn) override {
    if (num_threads_ == 1 || n <= 1) {
      for (int64_t i = 0; i < n; ++i) fn(i);
      return;
    }
    workers_->Run(num_threads_ - 1, n, fn);
  }

 private:
  const int num_threads_;
  const std::shared_ptr<Workers> workers_ = Workers::Shared();
};

}  // namespace

ThreadPool::~ThreadPool() = default;

std::shared_ptr<ThreadPool> MakeThreadPool(int num_threads) {
  return std::make_shared<SharedPool>(num_threads);
}

}  // namespace savedmodel
