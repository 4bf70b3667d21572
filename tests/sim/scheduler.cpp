// SPDX-License-Identifier: GPL-2.0-or-later
// See scheduler.hpp.
#include "tests/sim/scheduler.hpp"

#include <algorithm>
#include <exception>
#include <tuple>

namespace blanket::sim {

void Scheduler::end() {
    for (std::size_t i = 0; i < processes_.size(); ++i) processes_[i].dead = true;
    for (std::size_t i = 0; i < actors_.size(); ++i) {  // an actor that leaves may spawn no other, but may take several steps
        Actor& actor = *actors_[i];
        while (!actor.done) resume(actor);
        actor.thread.join();
    }
    actors_.clear();
}

Scheduler::Process& Scheduler::process(int number) {
    const auto index = static_cast<std::size_t>(number);
    if (processes_.size() <= index) processes_.resize(index + 1);
    return processes_[index];
}

bool Scheduler::alive(int number) const {
    const auto index = static_cast<std::size_t>(number);
    return index >= processes_.size() || !processes_[index].dead;
}

bool Scheduler::paused(int number) const {
    const auto index = static_cast<std::size_t>(number);
    return index < processes_.size() && processes_[index].paused_until > now_;
}

void Scheduler::spawn(int number, std::function<void()> body) {
    auto owned = std::make_unique<Actor>();
    Actor& actor = *owned;
    actor.process = number;
    actor.body = std::move(body);
    (void)process(number);
    const auto index = static_cast<std::uint32_t>(actors_.size());
    actors_.push_back(std::move(owned));
    actor.thread = std::thread([this, &actor] {
        actor.go.acquire();
        try {
            if (alive(actor.process)) actor.body();
        } catch (const Killed&) {
        }
        actor.body = nullptr;
        actor.done = true;
        back_.release();
    });
    wake_at(index, now_ + between(0, kMs));
}

void Scheduler::kill(int number) {
    process(number).dead = true;
    process(number).paused_until = 0;
    for (std::uint32_t i = 0; i < actors_.size(); ++i)
        if (actors_[i]->process == number && !actors_[i]->done && actors_[i].get() != running_) wake_at(i, now_);
}

void Scheduler::revive(int number) { process(number).dead = false; }

void Scheduler::pause(int number, Time until) { process(number).paused_until = std::max(process(number).paused_until, until); }

void Scheduler::at(Time when, std::function<void()> event) { events_.push({std::max(when, now_), random_(), 0, 0, std::move(event)}); }

void Scheduler::wake_at(std::uint32_t index, Time when) { events_.push({std::max(when, now_), random_(), ++actors_[index]->wake, index, nullptr}); }

void Scheduler::resume(Actor& actor) {
    running_ = &actor;
    actor.go.release();
    back_.acquire();
    running_ = nullptr;
}

void Scheduler::yield() {
    Actor& actor = *running_;
    back_.release();
    actor.go.acquire();
    if (leaving() && !actor.thrown) {
        actor.thrown = true;
        throw Killed{};
    }
}

bool Scheduler::leaving() const { return running_ != nullptr && (running_->thrown || !alive(running_->process)); }

void Scheduler::sleep(Time time) {
    if (running_ == nullptr || running_->thrown) return;
    if (!alive(running_->process)) {
        running_->thrown = true;
        throw Killed{};
    }
    const auto index = static_cast<std::uint32_t>(std::ranges::find(actors_, running_, [](const auto& owned) { return owned.get(); }) - actors_.begin());
    wake_at(index, now_ + std::max<Time>(time, 0));
    yield();
}

bool Scheduler::wait(Signal& signal, const std::function<bool()>& ready, Time deadline) {
    while (!ready()) {
        if (running_ == nullptr || running_->thrown || now_ >= deadline) return false;
        const auto index = static_cast<std::uint32_t>(std::ranges::find(actors_, running_, [](const auto& owned) { return owned.get(); }) - actors_.begin());
        signal.waiting.push_back(index);
        wake_at(index, deadline);
        yield();
        std::erase(signal.waiting, index);
    }
    return true;
}

void Scheduler::notify(Signal& signal) {
    for (const std::uint32_t index : signal.waiting)
        if (!actors_[index]->done) wake_at(index, now_);
    signal.waiting.clear();
}

std::uint64_t Scheduler::run(Time until) {
    const std::uint64_t before = steps_;
    while (!events_.empty() && events_.top().time <= until) {
        Event event = events_.top();
        events_.pop();
        now_ = std::max(now_, event.time);
        if (event.run) {
            ++steps_;
            event.run();
            continue;
        }
        Actor& actor = *actors_[event.actor];
        if (actor.done || event.wake != actor.wake) continue;
        if (const Process& owner = process(actor.process); !owner.dead && owner.paused_until > now_) {
            events_.push({owner.paused_until, random_(), event.wake, event.actor, nullptr});
            continue;
        }
        ++steps_;
        mix(event.actor * 1'000'003u + static_cast<std::uint64_t>(steps_ & 0xff));
        resume(actor);
    }
    now_ = std::max(now_, until);
    return steps_ - before;
}

}  // namespace blanket::sim
