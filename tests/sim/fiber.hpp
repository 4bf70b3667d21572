// SPDX-License-Identifier: GPL-2.0-or-later
// A stack of its own for each actor. A switch is two jumps in one thread; with a thread for each actor, the simulation spent two thirds of its time in futexes.
// An exception must not leave a body, and no body may hand over inside a catch block or a destructor that runs because of one. Thread rule: the one that made it.
#pragma once

#include <ucontext.h>

#include <functional>

namespace blanket::sim {

class Fiber {
public:
    explicit Fiber(std::function<void()> body);
    ~Fiber();  // its body has returned, or never began
    Fiber(const Fiber&) = delete;

    void resume();      // from outside, until it yields or returns
    void yield();       // from inside: back to where resume() was called
    [[nodiscard]] bool done() const { return done_; }

private:
    static void enter(unsigned high, unsigned low);
    std::function<void()> body_;
    ucontext_t inside_{}, outside_{};
    void* stack_ = nullptr;
    bool done_ = false;
};

}  // namespace blanket::sim
