// SPDX-License-Identifier: GPL-2.0-or-later
// The shaper's loop: read frames, admit them to links, hand over what is due. One ppoll with nanoseconds per turn; see shaper.hpp.
#include "tests/lab/shaper.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace blanket::lab {

using std::chrono::milliseconds;

namespace {

constexpr std::size_t kMaxFrame = 65'536;
constexpr std::size_t kMaxBacklog = 1024;             // frames per node
constexpr std::uint64_t kMaxFlying = 256u << 20;      // bytes per link: delay x rate of anything sensible
constexpr std::size_t kMaxLearned = 4096;
constexpr int kReadsPerTurn = 64;

Nanos steady_now() { return std::chrono::steady_clock::now().time_since_epoch(); }

std::uint64_t mac_at(const std::vector<std::byte>& frame, std::size_t at) {
    std::uint64_t mac = 0;
    for (std::size_t i = 0; i < 6; ++i) mac = mac << 8 | std::to_integer<std::uint64_t>(frame[at + i]);
    return mac;
}
constexpr std::uint64_t kGroupBit = 1ull << 40;

Result<sockaddr_un> unix_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) return fail(Kind::kInvalid, "socket path '{}' is empty or longer than {} bytes", path, sizeof address.sun_path - 1);
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

}  // namespace

Shaper::Shaper() : buffer_(kMaxFrame) {}

Result<std::unique_ptr<Shaper>> Shaper::create(bool realtime) {
    std::unique_ptr<Shaper> shaper(new Shaper());
    shaper->wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!shaper->wake_) return fail_errno("eventfd", "shaper");
    shaper->thread_ = std::jthread([self = shaper.get(), realtime](const std::stop_token& stop) {
        ::prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul, 0ul);  // wake within 1 us of the time asked for
        sched_param priority{};
        priority.sched_priority = 10;
        if (realtime && ::pthread_setschedparam(::pthread_self(), SCHED_RR, &priority) != 0) ::setpriority(PRIO_PROCESS, 0, -15);
        self->work(stop);
    });
    return shaper;
}

Shaper::~Shaper() {
    thread_.request_stop();
    const std::uint64_t one = 1;
    if (wake_) [[maybe_unused]] const auto put = ::write(wake_.get(), &one, sizeof one);
    if (thread_.joinable()) thread_.join();
}

void Shaper::work(const std::stop_token& stop) {
    std::array<pollfd, kMaxNodes + 1> polls{};
    while (!stop.stop_requested()) {
        Nanos pause{};
        std::size_t count = 0;
        {
            const std::scoped_lock lock(lock_);
            pause = run_once();
            polls[count++] = {wake_.get(), POLLIN, 0};
            for (const auto& node : nodes_) {
                polls[count++] = {node.fd.get(), POLLIN, 0};
                if (!node.backlog.empty()) pause = std::min(pause, Nanos(milliseconds(1)));  // the peer's queue cannot be polled unconnected
            }
        }
        timespec timeout{};
        timeout.tv_sec = pause.count() / 1'000'000'000;
        timeout.tv_nsec = pause.count() % 1'000'000'000;
        if (::ppoll(polls.data(), static_cast<nfds_t>(count), &timeout, nullptr) < 0 && errno != EINTR) return;
        if ((polls[0].revents & POLLIN) != 0) {
            std::uint64_t value = 0;
            [[maybe_unused]] const auto got = ::read(wake_.get(), &value, sizeof value);
        }
        const std::scoped_lock lock(lock_);
        for (std::size_t i = 1; i < count; ++i) {
            if ((polls[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0) read_node(i - 1);
        }
    }
}

void Shaper::read_node(std::size_t from) {
    for (int i = 0; i < kReadsPerTurn; ++i) {
        const ssize_t got = ::read(nodes_[from].fd.get(), buffer_.data(), buffer_.size());
        if (got < 14) return;  // nothing more, or no ethernet frame
        enter(from, std::make_shared<const std::vector<std::byte>>(buffer_.begin(), buffer_.begin() + got), steady_now());
    }
}

void Shaper::enter(std::size_t from, Frame frame, Nanos now) {
    const std::uint64_t to_mac = mac_at(*frame, 0), from_mac = mac_at(*frame, 6);
    if ((from_mac & kGroupBit) == 0 && (learned_.size() < kMaxLearned || learned_.contains(from_mac))) learned_[from_mac] = from;
    if (const auto known = learned_.find(to_mac); known != learned_.end() && (to_mac & kGroupBit) == 0) {
        if (known->second != from) enter_link(from, known->second, frame, now);
        return;
    }
    for (std::size_t to = 0; to < nodes_.size(); ++to) {
        if (to != from) enter_link(from, to, frame, now);
    }
}

void Shaper::enter_link(std::size_t from, std::size_t to, const Frame& frame, Nanos now) {
    Path& path = paths_.at({from, to});
    if (path.watched) recorder_.add(frame);
    if (path.flying + frame->size() > kMaxFlying) return path.link.count_cut();
    const auto due = path.link.admit(now, frame->size(), random_);
    if (!due) return;
    path.flying += frame->size();
    path.frames.push_back({now, *due, frame});
}

Nanos Shaper::run_once() {
    Nanos next = Nanos::max();
    for (auto& node : nodes_) drain(node);
    for (auto& [pair, path] : paths_) {
        Nanos now = steady_now();
        while (!path.frames.empty() && path.frames.front().due <= now) {
            const Waiting item = std::move(path.frames.front());
            path.frames.pop_front();
            path.flying -= item.frame->size();
            if (!path.link.is_up(now)) {
                path.link.count_cut();  // a cut takes what is on the way, too
                continue;
            }
            Node& node = nodes_[pair.second];
            if (node.backlog.empty() && send(node, item.frame)) {
            } else if (node.backlog.size() < kMaxBacklog) {
                node.backlog.push_back(item.frame);
            } else {
                ++node.unread;
                continue;
            }
            now = steady_now();
            path.link.count_delivered(item.entered, now, item.frame->size());
        }
        if (!path.frames.empty()) next = std::min(next, path.frames.front().due);
    }
    return std::clamp(next == Nanos::max() ? Nanos(milliseconds(1000)) : next - steady_now(), Nanos(0), Nanos(milliseconds(1000)));
}

// True when the frame is out of our hands: taken, or the receiver is absent.
bool Shaper::send(Node& node, const Frame& frame) {
    ssize_t put = 0;
    if (node.tap) {
        put = ::write(node.fd.get(), frame->data(), frame->size());
    } else {
        const auto address = unix_address(node.theirs);  // checked when the node was added
        put = ::sendto(node.fd.get(), frame->data(), frame->size(), MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
    }
    if (put >= 0) return true;
    if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR) return false;
    ++node.unread;
    return true;
}

void Shaper::drain(Node& node) {
    while (!node.backlog.empty() && send(node, node.backlog.front())) node.backlog.pop_front();
}

Result<void> Shaper::add_node(Node node) {
    const std::scoped_lock lock(lock_);
    if (nodes_.size() >= kMaxNodes) return fail(Kind::kInvalid, "more than {} nodes", kMaxNodes);
    if (index_of(node.name)) return fail(Kind::kConflict, "node '{}' exists", node.name);
    ::fcntl(node.fd.get(), F_SETFL, O_NONBLOCK);
    const std::size_t at = nodes_.size();
    for (std::size_t other = 0; other < at; ++other) {
        LinkSettings settings;  // machine to machine: the WAN
        if (node.tap || nodes_[other].tap) {
            settings.delay = milliseconds(10);
            settings.rate = 0;
        }
        paths_.emplace(Pair{at, other}, Path(settings));
        paths_.emplace(Pair{other, at}, Path(settings));
    }
    nodes_.push_back(std::move(node));
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto put = ::write(wake_.get(), &one, sizeof one);
    return {};
}

Result<void> Shaper::add_machine(const std::string& name, const std::string& ours, const std::string& theirs) {
    BLANKET_TRY(const sockaddr_un address, unix_address(ours));
    BLANKET_TRY([[maybe_unused]] const sockaddr_un checked, unix_address(theirs));
    Node node{name, theirs, UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)), false, {}, 0};
    if (!node.fd) return fail_errno("socket", name);
    ::unlink(ours.c_str());
    if (::bind(node.fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return fail_errno("bind", ours);
    const int size = 4 << 20;
    ::setsockopt(node.fd.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return add_node(std::move(node));
}

Result<void> Shaper::add_host(const std::string& name, UniqueFd tap) { return add_node(Node{name, {}, std::move(tap), true, {}, 0}); }

Result<std::size_t> Shaper::index_of(const std::string& name) const {
    const auto found = std::ranges::find(nodes_, name, &Node::name);
    if (found == nodes_.end()) return fail(Kind::kNotFound, "no node '{}'", name);
    return static_cast<std::size_t>(found - nodes_.begin());
}

}  // namespace blanket::lab
