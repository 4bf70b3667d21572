// SPDX-License-Identifier: GPL-2.0-or-later
// FIFO, head, stream; see stream_feeder.hpp.
#include "toolstack/hypervisor/stream_feeder.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {

using Clock = std::chrono::steady_clock;

struct StreamFeeder::State {
    std::string path;
    std::vector<std::byte> head;
    ByteSource source;
    std::chrono::milliseconds deadline{};
    UniqueFd stop;       // eventfd: the reader has returned
    UniqueFd both_ends;  // keeps the FIFO open until the reader is there, so that its open() cannot block and our first write cannot fail
    UniqueFd write;
    std::jthread thread;
    Result<std::uint64_t> outcome = 0;
    std::atomic<Clock::rep> last{0};

    Result<std::uint64_t> copy();
    Result<bool> wait(int fd, short events, int milliseconds);  // false: stopped
    Result<bool> write_head();
    Result<bool> write_piece(std::span<const std::byte> piece);
};

namespace {

constexpr std::size_t kFeedPiece = 256 * 1024;

}  // namespace

// Waits for `events` on fd, the reader's disappearance or the stop signal.
Result<bool> StreamFeeder::State::wait(int fd, short events, int milliseconds) {
    std::array<pollfd, 3> polls{pollfd{stop.get(), POLLIN, 0}, pollfd{fd, events, 0}, pollfd{write.get(), 0, 0}};
    while (::poll(polls.data(), polls.size(), milliseconds) < 0)
        if (errno != EINTR) return fail_errno("poll", path);
    if (polls[0].revents != 0) return false;
    if ((polls[2].revents & POLLERR) != 0) return fail(Kind::kIo, "the reader of the save image closed it");
    return true;
}

Result<bool> StreamFeeder::State::write_head() {
    const auto until = Clock::now() + deadline;
    std::span<const std::byte> rest(head);
    const auto late = [&] { return fail(Kind::kTimeout, "nobody read the save image {} within {} ms", path, deadline.count()); };
    while (!rest.empty()) {
        if (Clock::now() >= until) return late();
        BLANKET_TRY(const bool go, wait(write.get(), POLLOUT, 100));
        if (!go) return false;
        const ssize_t put = ::write(write.get(), rest.data(), rest.size());
        if (put < 0 && errno != EAGAIN && errno != EINTR) return fail_errno("write", path);
        if (put > 0) rest = rest.subspan(static_cast<std::size_t>(put));
    }
    // Both our ends count as readers, so a reader shows only by what it takes. Then let go of ours: from now on a broken reader is an error.
    for (int left = 1; left > 0;) {
        if (::ioctl(write.get(), FIONREAD, &left) != 0) return fail_errno("FIONREAD", path);
        if (left == 0) break;
        if (Clock::now() >= until) return late();
        BLANKET_TRY(const bool go, wait(-1, 0, 2));
        if (!go) return false;
    }
    both_ends.reset();
    return true;
}

Result<bool> StreamFeeder::State::write_piece(std::span<const std::byte> piece) {
    while (!piece.empty()) {
        BLANKET_TRY(const bool go, wait(write.get(), POLLOUT, -1));
        if (!go) return false;
        const ssize_t put = ::write(write.get(), piece.data(), piece.size());
        if (put > 0) {
            piece = piece.subspan(static_cast<std::size_t>(put));
            last = Clock::now().time_since_epoch().count();
        } else if (errno == EPIPE) {
            return fail(Kind::kIo, "the reader of the save image closed it");
        } else if (errno != EAGAIN && errno != EINTR) {
            return fail_errno("write", path);
        }
    }
    return true;
}

Result<std::uint64_t> StreamFeeder::State::copy() {
    BLANKET_TRY(const bool read, write_head());
    if (!read) return fail(Kind::kIo, "the restore ended before it read the stream");
    std::uint64_t bytes = 0;
    std::vector<std::byte> buffer(kFeedPiece);
    const auto stopped = [&]() -> Result<std::uint64_t> {
        if (bytes == 0) return fail(Kind::kIo, "the restore ended before it read the stream");
        return bytes;
    };
    for (;;) {
        const auto got = source(buffer);
        if (!got && got.error().kind == Kind::kTimeout) {
            BLANKET_TRY(const bool go, wait(-1, 0, 0));
            if (!go) return stopped();
            continue;
        }
        if (!got) return std::unexpected(got.error());
        if (*got == 0) break;
        auto written = write_piece(std::span<const std::byte>(buffer.data(), *got));
        if (!written) return std::unexpected(std::move(written).error().context(std::format("after {} bytes of the stream", bytes)));
        if (!*written) return stopped();
        bytes += *got;
    }
    write.reset();
    return bytes;
}

StreamFeeder::StreamFeeder(std::unique_ptr<State> state) : state_(std::move(state)) {}
StreamFeeder::StreamFeeder(StreamFeeder&&) noexcept = default;

StreamFeeder::~StreamFeeder() {
    if (state_) (void)finish();
}

Result<StreamFeeder> StreamFeeder::start(const std::string& folder, std::vector<std::byte> head, ByteSource source, std::chrono::milliseconds deadline) {
    BLANKET_CHECK(make_dirs(folder, 0750));
    auto state = std::make_unique<State>();
    state->path = std::format("{}/restore-{}", folder, random_hex(12));
    state->head = std::move(head);
    state->source = std::move(source);
    state->deadline = deadline;
    state->stop.reset(::eventfd(0, EFD_CLOEXEC));
    if (!state->stop) return fail_errno("eventfd", "");
    if (::mkfifo(state->path.c_str(), 0600) != 0) return fail_errno("mkfifo", state->path);
    state->both_ends.reset(::open(state->path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    state->write.reset(::open(state->path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    if (!state->both_ends || !state->write) {
        auto error = fail_errno("open", state->path);
        ::unlink(state->path.c_str());
        return error;
    }
    (void)::fcntl(state->write.get(), F_SETPIPE_SZ, 1 << 20);
    State* raw = state.get();
    state->thread = std::jthread([raw] {
        sigset_t pipe;  // a reader that goes away shall be an error, not the end of the process
        sigemptyset(&pipe);
        sigaddset(&pipe, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
        raw->outcome = raw->copy();
        raw->write.reset();
        raw->both_ends.reset();
        if (!raw->outcome) ::unlink(raw->path.c_str());  // a reader that comes late finds nothing instead of waiting for ever
    });
    return StreamFeeder(std::move(state));
}

const std::string& StreamFeeder::path() const { return state_->path; }

std::chrono::steady_clock::time_point StreamFeeder::last_byte() const { return Clock::time_point(Clock::duration(state_->last.load())); }

Result<std::uint64_t> StreamFeeder::finish() {
    if (state_->thread.joinable()) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t woken = ::write(state_->stop.get(), &one, sizeof one);  // an eventfd takes it always
        state_->thread.join();
    }
    ::unlink(state_->path.c_str());
    return state_->outcome;
}

}  // namespace blanket
