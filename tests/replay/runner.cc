#include "tests/replay/runner.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

namespace savedmodel::replay {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

Result RunOne(const std::vector<Case>& cases, size_t index, const LoadOptions& load) {
  const auto start = Clock::now();
  Result result{index, {}, 0};
  try {
    result.outcome = cases[index].run(load);
  } catch (const std::exception& e) {  // the library throws nothing: a case.json that surprises
    result.outcome.failures.push_back(std::string("exception: ") + e.what());
  }
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return result;
}

std::string ToLine(const Result& r) {
  const json j = {{"i", r.index},
                  {"failures", r.outcome.failures},
                  {"skipped", r.outcome.skipped},
                  {"checks", r.outcome.checks},
                  {"s", r.seconds}};
  return j.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

Result FromLine(const std::string& line) {
  const json j = json::parse(line);
  Result r;
  r.index = j["i"];
  r.outcome = {j["failures"], j["skipped"], j["checks"]};
  r.seconds = j["s"];
  return r;
}

void WriteAll(int fd, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t n = write(fd, text.data() + at, text.size() - at);
    if (n <= 0) _exit(3);
    at += static_cast<size_t>(n);
  }
}

// A child that works on cases [next, end); `next` is the one it is at.
class Child {
 public:
  Child(const std::vector<Case>& cases, size_t begin, size_t end, const RunnerOptions& options)
      : cases_(cases), options_(options), next_(begin), end_(end) {
    Start();
  }
  ~Child() {
    close(results_);
    close(errors_);
  }

  bool done() const { return pid_ < 0; }
  int results() const { return results_; }
  int errors() const { return errors_; }
  size_t next() const { return next_; }
  size_t end() const { return end_; }

  // Takes in what the child wrote, ends it when over a limit, and reports.
  void Advance(const std::function<void(const Result&)>& done) {
    const bool open = Drain(results_, &pending_);
    Drain(errors_, &stderr_);
    if (stderr_.size() > kKeptStderr) stderr_.erase(0, stderr_.size() - kKeptStderr);
    for (size_t eol; (eol = pending_.find('\n')) != std::string::npos;) {
      done(FromLine(pending_.substr(0, eol)));
      pending_.erase(0, eol + 1);
      ++next_;
      since_ = Clock::now();
    }
    if (!open) {
      Reap(done);
    } else if (next_ < end_) {
      EnforceLimits();
    }
  }

 private:
  static constexpr size_t kKeptStderr = 8192;

  void Start() {
    int results[2], errors[2];
    if (pipe(results) != 0 || pipe(errors) != 0) std::abort();
    std::fflush(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      close(results[0]);
      dup2(errors[1], STDERR_FILENO);
      for (size_t i = next_; i < end_; ++i) {
        WriteAll(results[1], ToLine(RunOne(cases_, i, options_.load)));
      }
      std::exit(0);  // not _exit: leak checkers look at the end
    }
    if (pid_ < 0) std::abort();
    close(results[1]);
    close(errors[1]);
    results_ = results[0];
    errors_ = errors[0];
    fcntl(results_, F_SETFL, O_NONBLOCK);
    fcntl(errors_, F_SETFL, O_NONBLOCK);
    since_ = Clock::now();
  }

  // False at end of file.
  static bool Drain(int fd, std::string* into) {
    char buffer[65536];
    for (;;) {
      const ssize_t n = read(fd, buffer, sizeof buffer);
      if (n > 0) {
        into->append(buffer, static_cast<size_t>(n));
      } else {
        return n < 0;
      }
    }
  }

  int64_t ResidentBytes() const {
    std::ifstream in("/proc/" + std::to_string(pid_) + "/statm");
    int64_t size = 0, resident = 0;
    in >> size >> resident;
    return resident * sysconf(_SC_PAGESIZE);
  }

  void EnforceLimits() {
    const Case& c = cases_[next_];
    const auto timeout = c.timeout.count() > 0 ? c.timeout : options_.timeout;
    const int64_t max_bytes = c.max_bytes > 0 ? c.max_bytes : options_.max_bytes;
    if (Clock::now() - since_ > timeout) {
      killed_ = "no answer within " + std::to_string(timeout.count()) + " ms";
    } else if (max_bytes > 0 && ResidentBytes() > max_bytes) {
      killed_ = "more than " + std::to_string(max_bytes >> 20) + " MiB of resident memory";
    }
    if (!killed_.empty()) kill(pid_, SIGKILL);
  }

  // The line of the child's last words that tells most.
  std::string LastWords() const {
    size_t at = std::string::npos;
    for (const char* word : {"ERROR: ", "runtime error", "WARNING: ThreadSanitizer", "terminate"}) {
      if ((at = stderr_.find(word)) != std::string::npos) break;
    }
    if (at == std::string::npos) {
      const size_t last = stderr_.find_last_not_of('\n');
      if (last == std::string::npos) return "";
      at = stderr_.rfind('\n', last);
      at = at == std::string::npos ? 0 : at + 1;
    }
    return " (" + stderr_.substr(at, std::min<size_t>(stderr_.find('\n', at) - at, 200)) + ")";
  }

  void Reap(const std::function<void(const Result&)>& done) {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    std::string what = killed_;
    if (what.empty() && WIFSIGNALED(status)) {
      what = std::string("ended by signal ") + strsignal(WTERMSIG(status)) + LastWords();
    } else if (what.empty() && WEXITSTATUS(status) != 0) {
      what = "ended with exit status " + std::to_string(WEXITSTATUS(status)) + LastWords();
    }
    if (next_ < end_) {  // the case that was running
      Result r;
      r.index = next_++;
      r.outcome.failures.push_back(what.empty() ? "the process ended without an answer" : what);
      r.seconds = std::chrono::duration<double>(Clock::now() - since_).count();
      done(r);
    } else if (!what.empty()) {  // a leak, or a fault at exit: all cases of the batch had answered
      std::fprintf(stderr, "after %s: %s\n", cases_[end_ - 1].name.c_str(), what.c_str());
      Result r;
      r.index = end_ - 1;
      r.outcome.failures.push_back("after the answer: " + what);
      done(r);
    }
  }

  const std::vector<Case>& cases_;
  const RunnerOptions& options_;
  size_t next_, end_;
  pid_t pid_ = -1;
  int results_ = -1, errors_ = -1;
  std::string pending_, stderr_, killed_;
  Clock::time_point since_;
};

// Cases [begin, end) that go into one child.
struct Batch {
  size_t begin, end;
};

std::vector<Batch> MakeBatches(const std::vector<Case>& cases, const RunnerOptions& options) {
  const size_t jobs = static_cast<size_t>(std::max(options.jobs, 1));
  const size_t size = std::clamp<size_t>(cases.size() / (jobs * 4), 1, 200);
  std::vector<Batch> batches;
  for (size_t i = 0; i < cases.size();) {
    size_t end = i + 1;
    if (!options.isolate && !cases[i].isolate) {
      while (end < cases.size() && end - i < size && !cases[end].isolate) ++end;
    }
    batches.push_back({i, end});
    i = end;
  }
  return batches;
}

}  // namespace

void RunCases(const std::vector<Case>& cases, const RunnerOptions& options,
              const std::function<void(const Result&)>& done) {
  if (options.in_process) {
    for (size_t i = 0; i < cases.size(); ++i) done(RunOne(cases, i, options.load));
    return;
  }
  std::vector<Batch> batches = MakeBatches(cases, options);
  std::reverse(batches.begin(), batches.end());
  std::vector<std::unique_ptr<Child>> children;
  while (!batches.empty() || !children.empty()) {
    while (!batches.empty() && children.size() < static_cast<size_t>(std::max(options.jobs, 1))) {
      children.push_back(
          std::make_unique<Child>(cases, batches.back().begin, batches.back().end, options));
      batches.pop_back();
    }
    std::vector<pollfd> fds;
    for (const auto& child : children) {
      fds.push_back({child->results(), POLLIN, 0});
      fds.push_back({child->errors(), POLLIN, 0});
    }
    poll(fds.data(), fds.size(), 20);
    for (size_t i = 0; i < children.size();) {
      children[i]->Advance(done);
      if (!children[i]->done()) {
        ++i;
        continue;
      }
      if (children[i]->next() < children[i]->end()) {
        batches.push_back({children[i]->next(), children[i]->end()});
      }
      children.erase(children.begin() + static_cast<ptrdiff_t>(i));
    }
  }
}

}  // namespace savedmodel::replay
