#include "bench/contestant.h"

#include "cli/core/failure.h"

namespace tilewise::cli {
namespace {

class Ours : public Contestant {
 public:
  Ours(const std::string& backend, tw_operation operation, Workload& work,
       const tw_execution& where)
      : Contestant(backend),
        operation_(operation),
        work_(work),
        runner_(where.threads, backend_named(backend), where.device) {
    try {
      if (operation == TW_BACKWARD) {
        runner_.prepare(TW_FORWARD, work.call());
        runner_.run(TW_FORWARD, work.call());
      }
      needs(static_cast<double>(runner_.prepare(operation, work.call())));
      is_ready_after(time_once(operation_, work_.call(), runner_));
    } catch (const Failure& failure) {
      if (failure.status() != kUnsupported) throw;
      refuse(failure.what());
    }
  }

 private:
  std::vector<double> run(double budget) override {
    return times_within(operation_, work_.call(), runner_, budget);
  }

  tw_operation operation_;
  Workload& work_;
  Runner runner_;
};

class Theirs : public Contestant {
 public:
  Theirs(NamedPeer& peer, const PeerCase& wanted) : Contestant(peer.name), peer_(peer) {
    attempt([&] {
      const auto first = peer_.peer->prepare(wanted);
      is_ready_after(first.value_or(0));
      if (!first) refuse("this peer does not do this case");
    });
  }

 private:
  std::vector<double> run(double budget) override {
    std::vector<double> times;
    attempt([&] { times = peer_.peer->run(budget); });
    return times;
  }

  template <class Action>
  void attempt(const Action& action) {
    try {
      action();
    } catch (const PeerLost& lost) {
      refuse(lost.what());
      peer_.lose(lost.what());
    }
  }

  NamedPeer& peer_;
};

}  // namespace

void Contestant::take_turn(double budget, int turns) {
  if (!refusal_.empty() || (spent_ > 0 && spent_ >= budget)) return;
  if (first_ > budget) {
    samples_ = {first_};
    spent_ = first_;
    return;
  }
  for (const double sample : run(budget / turns)) {
    samples_.push_back(sample);
    spent_ += sample;
  }
}

std::unique_ptr<Contestant> our_contestant(const std::string& backend, tw_operation operation,
                                           Workload& work, const tw_execution& where) {
  return std::make_unique<Ours>(backend, operation, work, where);
}

std::unique_ptr<Contestant> their_contestant(NamedPeer& peer, const PeerCase& wanted) {
  return std::make_unique<Theirs>(peer, wanted);
}

}  // namespace tilewise::cli
