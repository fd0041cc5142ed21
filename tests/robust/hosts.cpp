#include "robust/hosts.h"

#include <thread>
#include <utility>

namespace tilewise::robust {

Host::Host(int workers, Run run) : run_(std::move(run)) {
  parallel_.size = sizeof parallel_;
  parallel_.parallel_for = parallel_for;
  parallel_.host = this;
  parallel_.workers = workers;
}

tw_execution Host::execution() const {
  tw_execution where{};
  where.size = sizeof where;
  where.parallel = &parallel_;
  return where;
}

void Host::parallel_for(void* host, std::int64_t tasks, tw_task task, void* argument) {
  Host& self = *static_cast<Host*>(host);
  self.calls_.fetch_add(1);
  self.run_(tasks, [&](std::int64_t t, int worker) { task(argument, t, worker); });
}

Host::Run backwards() {
  return [](std::int64_t tasks, const auto& task) {
    for (std::int64_t t = tasks; t-- > 0;) task(t, static_cast<int>(t % kHostWorkers));
  };
}

Host::Run on_two_threads() {
  return [](std::int64_t tasks, const auto& task) {
    std::thread second([&] {
      for (std::int64_t t = 1; t < tasks; t += 2) task(t, 1);
    });
    for (std::int64_t t = 0; t < tasks; t += 2) task(t, 0);
    second.join();
  };
}

}  // namespace tilewise::robust
