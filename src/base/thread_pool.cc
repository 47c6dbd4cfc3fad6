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

// Where a loop is run with help. Each thread has a share of the indices, the same of all loops with
// as many: what a thread wrote in one loop is in its cache when it reads that in the next. Who is
// done takes from the others' shares. What a helper reads first lies in one cache line.
class alignas(64) Room {
 public:
  // Whether the room was free, and is the caller's now.
  bool Take() {
    uint32_t free = 0;
    return state_.load(std::memory_order_relaxed) == free &&
           state_.compare_exchange_strong(free, kTaken, std::memory_order_acquire);
  }

  // Lets up to `helpers` others take part in a loop of `threads` threads.
  void Open(FunctionRef<void(int64_t)> fn, int64_t n, int threads, int helpers) {
    fn_ = fn;
    threads_ = std::min<int>(threads, kShares);
    for (int i = 0; i < threads_; ++i) {
      shares_[i].next.store(n * i / threads_, std::memory_order_relaxed);
      shares_[i].end = n * (i + 1) / threads_;
    }
    seats_.store(static_cast<uint32_t>(helpers), std::memory_order_relaxed);
    state_.store(kTaken | kOpen, std::memory_order_release);
  }

  // Takes part as thread `thread` until no index is left.
  void Work(int thread) {
    for (int i = 0; i < threads_; ++i) {
      Share& share = shares_[(thread + i) % threads_];
      // Whose share is finished keeps its cache line.
      if (i > 0 && share.next.load(std::memory_order_relaxed) >= share.end) continue;
      for (int64_t at; (at = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) {
        try {
          fn_(at);
        } catch (...) {
          Fail();
        }
      }
    }
  }

  // Helps as thread `thread`, if there is something to do.
  void Help(int thread) {
    uint32_t s = state_.load(std::memory_order_relaxed);
    do {
      if ((s & kOpen) == 0 || (s & ~kBits) >= seats_.load(std::memory_order_relaxed)) return;
    } while (!state_.compare_exchange_weak(s, s + 1, std::memory_order_acquire,
                                           std::memory_order_relaxed));
    Work(thread);
    // No index is left: nobody else need enter.
    s = state_.load(std::memory_order_relaxed);
    while (!state_.compare_exchange_weak(s, (s & ~kOpen) - 1, std::memory_order_release,
                                         std::memory_order_relaxed)) {
    }
  }

  // Waits until no helper is inside and leaves the room. Throws the first that the loop has thrown.
  void Close() {
    uint32_t s = state_.fetch_and(~kOpen, std::memory_order_acquire);
    for (int looks = 0; (s & ~kBits) != 0; ++looks) {
      if (looks < kLooks) {
        Pause();
      } else {
        std::this_thread::yield();
      }
      s = state_.load(std::memory_order_acquire);
    }
    std::exception_ptr error;
    if (failed_.exchange(false, std::memory_order_relaxed)) std::swap(error, error_);
    state_.store(0, std::memory_order_release);
    if (error != nullptr) std::rethrow_exception(error);
  }

 private:
  static constexpr uint32_t kTaken = 1u << 31;  // a caller has it
  static constexpr uint32_t kOpen = 1u << 30;   // helpers may enter
  static constexpr uint32_t kBits = kTaken | kOpen;
  static constexpr int kShares = 64;  // more threads than that share a share
  struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t end;
  };
  static constexpr auto kNothing = [](int64_t) {};

  void Fail() {
    if (!failed_.exchange(true)) error_ = std::current_exception();
    for (int i = 0; i < threads_; ++i) {
      shares_[i].next.store(shares_[i].end, std::memory_order_relaxed);
    }
  }

  std::atomic<uint32_t> state_{0};  // the bits above, and the number of helpers inside
  std::atomic<uint32_t> seats_{0};
  FunctionRef<void(int64_t)> fn_{kNothing};
  int threads_ = 0;
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;  // the first that `fn_` threw
  Share shares_[kShares];
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

  int num_awake() const { return awake_.load(std::memory_order_relaxed); }

  // Runs the loop on the calling thread and at most `helpers` others.
  void Run(int helpers, int64_t n, FunctionRef<void(int64_t)> fn) {
    if (started_.load(std::memory_order_acquire) < helpers) Start(helpers);
    Room* const room = TakeRoom();
    const int useful = static_cast<int>(std::min<int64_t>(helpers, n - 1));
    if (room != nullptr) room->Open(fn, n, helpers + 1, useful);
    // Before `asleep_` is read: a worker does it the other way round.
    const Call call(&calls_, room != nullptr);
    if (room == nullptr) {
      for (int64_t i = 0; i < n; ++i) fn(i);
      return;
    }
    if (const int sleepers = asleep_.load(); sleepers > 0) {
      const int idle =
          awake_.load(std::memory_order_relaxed) - busy_.load(std::memory_order_relaxed);
      Wake(std::min(sleepers, useful - idle));
    }
    room->Work(0);
    room->Close();
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

  // Of `calls_`: a thread that runs a loop of its own, and a loop that has been offered.
  static constexpr uint64_t kCaller = 1, kOffer = 1 << 16;

  class Call {
   public:
    Call(std::atomic<uint64_t>* calls, bool is_offer) : calls_(calls) {
      calls_->fetch_add(kCaller + (is_offer ? kOffer : 0));
    }
    ~Call() { calls_->fetch_sub(kCaller, std::memory_order_relaxed); }
    Call(const Call&) = delete;

   private:
    std::atomic<uint64_t>* const calls_;
  };

  uint64_t offers() const { return calls_.load() / kOffer; }
  int callers() const { return static_cast<int>(calls_.load(std::memory_order_relaxed) % kOffer); }

  // Null where nobody could help: all processors have loops to run.
  Room* TakeRoom() {
    if (callers() + 1 >= processors_) return nullptr;
    const auto room =
        std::find_if(rooms_.begin(), rooms_.end(), [](Room& room) { return room.Take(); });
    return room == rooms_.end() ? nullptr : &*room;
  }

  void Wake(int count) {
    if (count <= 0) return;
    { std::lock_guard<std::mutex> lock(mutex_); }  // one that is about to sleep does so first
    for (int i = 0; i < count; ++i) wake_.notify_one();
  }

  // Whether those who run loops leave a processor to all who are awake.
  bool HasProcessor() const {
    return callers() + awake_.load(std::memory_order_relaxed) <= processors_;
  }

  void HelpAll(int thread) {
    busy_.fetch_add(1, std::memory_order_relaxed);
    for (Room& room : rooms_) room.Help(thread);
    busy_.fetch_sub(1, std::memory_order_relaxed);
  }

  void Serve(int thread) {
    uint64_t seen = offers();
    awake_.fetch_add(1);
    for (;;) {
      if (HasProcessor()) HelpAll(thread);
      int looks = 0;
      constexpr int kEvery = 16;  // others write what is read only now and then
      while (looks < kLooks && offers() == seen && (looks % kEvery != 0 || HasProcessor())) {
        Pause();
        ++looks;
      }
      if (offers() == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        if (looks < kLooks && HasProcessor()) continue;  // since another one went
        awake_.fetch_sub(1);
        asleep_.fetch_add(1);
        wake_.wait(lock, [&] { return stopping_ || offers() != seen; });
        asleep_.fetch_sub(1);
        awake_.fetch_add(1);
        if (stopping_) return;
      }
      seen = offers();
    }
  }

  const int processors_ = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::array<Room, kRooms> rooms_;
  alignas(64) std::atomic<uint64_t> calls_{0};         // that are running, and offers so far
  alignas(64) std::atomic<int> awake_{0}, asleep_{0};  // workers
  std::atomic<int> started_{0};                        // workers that were asked for
  alignas(64) std::atomic<int> busy_{0};               // workers that help, or look whom to
  alignas(64) std::mutex mutex_;
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
  int num_awake() const override { return std::min(num_threads_, 1 + workers_->num_awake()); }

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
