// SPDX-License-Identifier: GPL-2.0-or-later
// The FIFO feeder with readers that behave, that leave early, and that never come.
#include "toolstack/hypervisor/stream_feeder.hpp"

#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <poll.h>

namespace blanket {
namespace {

using namespace std::chrono_literals;

std::vector<std::byte> bytes_of(std::string_view text) {
    const auto span = as_bytes(text);
    return {span.begin(), span.end()};
}

class StreamFeederTest : public ::testing::Test {
protected:
    std::string folder = (std::filesystem::temp_directory_path() / ("feeder-" + std::to_string(::getpid()))).string();
    ~StreamFeederTest() override { std::filesystem::remove_all(folder); }
    [[nodiscard]] bool empty() const { return std::filesystem::is_empty(folder); }
};

// What comes out of a pipe, as the port wants it: a short silence is kTimeout.
ByteSource from(const UniqueFd& fd) {
    return [&fd](std::span<std::byte> out) -> Result<std::size_t> {
        pollfd ready{fd.get(), POLLIN, 0};
        if (::poll(&ready, 1, 50) == 0) return fail(Kind::kTimeout, "nothing yet");
        return read_some(fd.get(), out);
    };
}

std::string read_to_end(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY));
    std::string all;
    std::vector<std::byte> buffer(64 * 1024);
    while (const auto got = read_some(fd.get(), buffer).value_or(0)) all.append(reinterpret_cast<const char*>(buffer.data()), got);
    return all;
}

TEST_F(StreamFeederTest, HeadAndStreamArrive) {
    auto pipe = make_pipe().value();
    auto feeder = StreamFeeder::start(folder, bytes_of("HEAD"), from(pipe.read));
    ASSERT_TRUE(feeder) << feeder.error().what;
    const std::string data(3'000'000, 'x');
    std::jthread writer([&] {
        (void)write_all(pipe.write.get(), as_bytes(data));
        pipe.write.reset();
    });
    EXPECT_EQ(read_to_end(feeder->path()), "HEAD" + data);
    const auto fed = feeder->finish();
    ASSERT_TRUE(fed) << fed.error().what;
    EXPECT_EQ(*fed, data.size());
    EXPECT_TRUE(empty());
}

TEST_F(StreamFeederTest, ReaderLeavesEarly) {
    auto pipe = make_pipe().value();
    auto feeder = StreamFeeder::start(folder, bytes_of("HEAD"), from(pipe.read)).value();
    {
        const UniqueFd fd(::open(feeder.path().c_str(), O_RDONLY));
        std::byte head[4];
        ASSERT_TRUE(read_all(fd.get(), head));
        std::this_thread::sleep_for(50ms);  // the feeder lets go of its own reading end
    }
    std::this_thread::sleep_for(50ms);
    const auto fed = feeder.finish();
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().kind, Kind::kIo);
    EXPECT_TRUE(empty());
}

TEST_F(StreamFeederTest, NobodyReads) {
    auto pipe = make_pipe().value();
    auto feeder = StreamFeeder::start(folder, bytes_of("HEAD"), from(pipe.read), 100ms).value();
    for (const auto until = std::chrono::steady_clock::now() + 20s; !empty() && std::chrono::steady_clock::now() < until;) std::this_thread::sleep_for(5ms);
    EXPECT_TRUE(empty());  // a late reader finds nothing
    const auto fed = feeder.finish();
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().kind, Kind::kTimeout);
}

TEST_F(StreamFeederTest, FinishEndsASourceThatHangs) {
    auto pipe = make_pipe().value();
    auto feeder = StreamFeeder::start(folder, bytes_of("HEAD"), from(pipe.read)).value();
    const UniqueFd fd(::open(feeder.path().c_str(), O_RDONLY));
    std::byte head[4];
    ASSERT_TRUE(read_all(fd.get(), head));
    const auto begin = std::chrono::steady_clock::now();
    (void)feeder.finish();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
    EXPECT_TRUE(empty());
}

TEST_F(StreamFeederTest, TruncatedSourceIsSeenByTheReaderAsEnd) {
    auto pipe = make_pipe().value();
    auto feeder = StreamFeeder::start(folder, bytes_of("HEAD"), from(pipe.read)).value();
    (void)write_all(pipe.write.get(), as_bytes("short"));
    pipe.write.reset();
    EXPECT_EQ(read_to_end(feeder.path()), "HEADshort");
    EXPECT_EQ(feeder.finish().value(), 5u);
}

}  // namespace
}  // namespace blanket
