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
        while (actor.fiber) resume(actor);
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
    actor.index = static_cast<std::uint32_t>(actors_.size());
    (void)process(number);
    actors_.push_back(std::move(owned));
    actor.fiber = std::make_unique<Fiber>([this, number, body = std::move(body)] {
        try {
            if (alive(number)) body();
        } catch (const Killed&) {
        }
    });
    wake_at(actor.index, now_ + between(0, kMs));
}

void Scheduler::kill(int number) {
    process(number).dead = true;
    process(number).paused_until = 0;
    for (std::uint32_t i = 0; i < actors_.size(); ++i)
        if (actors_[i]->process == number && actors_[i]->fiber && actors_[i].get() != running_) wake_at(i, now_);
}

void Scheduler::revive(int number) { process(number).dead = false; }

void Scheduler::pause(int number, Time until) { process(number).paused_until = std::max(process(number).paused_until, until); }

void Scheduler::at(Time when, std::function<void()> event) { events_.push({std::max(when, now_), random_(), 0, 0, std::move(event)}); }

void Scheduler::wake_at(std::uint32_t index, Time when) { events_.push({std::max(when, now_), random_(), ++actors_[index]->wake, index, nullptr}); }

void Scheduler::resume(Actor& actor) {
    running_ = &actor;
    actor.fiber->resume();
    running_ = nullptr;
    if (actor.fiber->done()) actor.fiber.reset();
}

void Scheduler::yield() {
    Actor& actor = *running_;
    actor.fiber->yield();
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
    wake_at(running_->index, now_ + std::max<Time>(time, 0));
    yield();
}

bool Scheduler::wait(Signal& signal, const std::function<bool()>& ready, Time deadline) {
    while (!ready()) {
        if (running_ == nullptr || running_->thrown || now_ >= deadline) return false;
        const std::uint32_t index = running_->index;
        signal.waiting.push_back(index);
        wake_at(index, deadline);
        yield();
        std::erase(signal.waiting, index);
    }
    return true;
}

void Scheduler::notify(Signal& signal) {
    for (const std::uint32_t index : signal.waiting)
        if (actors_[index]->fiber) wake_at(index, now_);
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
        if (!actor.fiber || event.wake != actor.wake) continue;
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
