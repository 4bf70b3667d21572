// SPDX-License-Identifier: GPL-2.0-or-later
// See fiber.hpp.
#include "tests/sim/fiber.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <vector>

namespace blanket::sim {
namespace {

constexpr std::size_t kGuard = 4096, kStack = 256 * 1024;  // below a stack lies a page that nobody may touch

// A schedule makes some twenty actors, a run a hundred thousand schedules: stacks are used again.
struct Stacks {
    std::vector<void*> free;
    ~Stacks() {
        for (void* const stack : free) ::munmap(stack, kGuard + kStack);
    }
    void* take() {
        if (!free.empty()) {
            void* const stack = free.back();
            free.pop_back();
            return stack;
        }
        void* const stack = ::mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        if (stack == MAP_FAILED || ::mprotect(stack, kGuard, PROT_NONE) != 0) throw std::bad_alloc();
        return stack;
    }
};
thread_local Stacks stacks;

}  // namespace

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)), stack_(stacks.take()) {
    ::getcontext(&inside_);
    inside_.uc_stack.ss_sp = static_cast<char*>(stack_) + kGuard;
    inside_.uc_stack.ss_size = kStack;
    inside_.uc_link = &outside_;
    const auto self = reinterpret_cast<std::uintptr_t>(this);  // makecontext passes ints
    ::makecontext(&inside_, reinterpret_cast<void (*)()>(&Fiber::enter), 2, static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
}

Fiber::~Fiber() { stacks.free.push_back(stack_); }

void Fiber::enter(unsigned high, unsigned low) {
    auto* const self = reinterpret_cast<Fiber*>(static_cast<std::uintptr_t>(high) << 32 | low);
    self->body_();
    self->body_ = nullptr;
    self->done_ = true;
}

void Fiber::resume() { ::swapcontext(&outside_, &inside_); }
void Fiber::yield() { ::swapcontext(&inside_, &outside_); }

}  // namespace blanket::sim
