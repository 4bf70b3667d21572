// SPDX-License-Identifier: GPL-2.0-or-later
// The probe's network: a card, the provider's sshd over it, and what is measured. The other end (`probe serve`) is here too.
#include <algorithm>
#include <array>
#include <arpa/inet.h>
#include <atomic>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "tests/vm/uplink_rig/pattern.hpp"
#include "tests/vm/uplink_rig/probe.hpp"

namespace blanket::rig {
namespace {

constexpr std::size_t kStream = 24 * kMeg, kShortStream = 3 * kMeg;
constexpr int kServed = 7777;

std::string bring_up(const std::string& card, const char* own = "10.99.0.2") {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    card.copy(request.ifr_name, IFNAMSIZ - 1);
    auto* address = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
    address->sin_family = AF_INET;
    ::inet_pton(AF_INET, own, &address->sin_addr);
    std::string wrong;
    if (::ioctl(fd, SIOCSIFADDR, &request) != 0) wrong = "address: " + errno_text();
    ::inet_pton(AF_INET, "255.255.255.0", &address->sin_addr);
    if (wrong.empty() && ::ioctl(fd, SIOCSIFNETMASK, &request) != 0) wrong = "netmask: " + errno_text();
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (wrong.empty() && ::ioctl(fd, SIOCSIFFLAGS, &request) != 0) wrong = "up: " + errno_text();
    ::close(fd);
    return wrong;
}

std::string peer_address() { return parameter("peer", "10.99.0.1"); }

std::size_t receive(int fd, std::size_t want) {
    std::vector<char> buffer(64 * 1024);
    std::size_t got = 0;
    while (got < want) {
        const ssize_t some = ::recv(fd, buffer.data(), std::min(buffer.size(), want - got), 0);
        if (some <= 0) break;
        got += static_cast<std::size_t>(some);
    }
    return got;
}

bool send_bytes(int fd, std::size_t count) {
    const std::vector<char> buffer(64 * 1024, 'x');
    while (count > 0) {
        const ssize_t some = ::send(fd, buffer.data(), std::min(buffer.size(), count), MSG_NOSIGNAL);
        if (some <= 0) return false;
        count -= static_cast<std::size_t>(some);
    }
    return true;
}

// The bytes that go each way carry their place.
char byte_at(std::size_t place) { return static_cast<char>(word_at(place / 4096, 0x747770) + place); }

bool send_pattern(int fd, const std::atomic<bool>& stop, std::atomic<std::size_t>& sent) {
    std::vector<char> buffer(64 * 1024);
    while (!stop) {
        for (std::size_t i = 0; i < buffer.size(); ++i) buffer[i] = byte_at(sent + i);
        for (std::size_t done = 0; done < buffer.size();) {
            const ssize_t some = ::send(fd, buffer.data() + done, buffer.size() - done, MSG_NOSIGNAL);
            if (some <= 0) return false;
            done += static_cast<std::size_t>(some);
        }
        sent += buffer.size();
    }
    return ::shutdown(fd, SHUT_WR) == 0;
}

// Until the other side's end; false: a byte was not the one of its place.
bool receive_pattern(int fd, std::atomic<std::size_t>& got) {
    std::vector<char> buffer(64 * 1024);
    for (;;) {
        const ssize_t some = ::recv(fd, buffer.data(), buffer.size(), 0);
        if (some < 0) return false;
        if (some == 0) return true;
        for (std::size_t i = 0; i < static_cast<std::size_t>(some); ++i)
            if (buffer[i] != byte_at(got + i)) return false;
        got += static_cast<std::size_t>(some);
    }
}

// One request per connection: 'S' takes kStream bytes and says so, 'G' gives them, 's' and 'g' do so with kShortStream, 'E' echoes pieces of 64 bytes until the end, 'D' gives and takes at once
// until the other side ends.
void answer(int fd) {
    char what = 0;
    if (::recv(fd, &what, 1, 0) == 1) {
        const std::size_t stream = what == 'S' || what == 'G' ? kStream : kShortStream;
        if ((what == 'S' || what == 's') && receive(fd, stream) == stream) send_bytes(fd, 1);
        if (what == 'G' || what == 'g') send_bytes(fd, stream);
        if (what == 'D') {
            std::atomic<bool> stop = false;
            std::atomic<std::size_t> sent = 0, got = 0;
            std::jthread sender([&] { send_pattern(fd, stop, sent); });
            const bool right = receive_pattern(fd, got);
            stop = true;
            if (!right) ::shutdown(fd, SHUT_RDWR);
        }
        while (what == 'E' && receive(fd, 64) == 64 && send_bytes(fd, 64)) {
        }
    }
    ::close(fd);
}

}  // namespace

int dial(const std::string& address, int port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(static_cast<std::uint16_t>(port));
    ::inet_pton(AF_INET, address.c_str(), &peer.sin_addr);
    timeval patience{.tv_sec = 15, .tv_usec = 0};  // with connect() only
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&peer), sizeof peer) == 0) {
        patience = {};
        ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        return fd;
    }
    ::close(fd);
    return -1;
}

std::string network_card(int number) {
    std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(("/sys/bus/blanket/devices/vif-" + std::to_string(number) + "/net").c_str()), ::closedir);
    if (!folder) folder.reset(::opendir("/sys/bus/xen/devices/vif-0/net"));
    if (!folder) return number == 0 && exists("/sys/class/net/eth0") ? "eth0" : "";  // an emulated one
    while (const dirent* entry = ::readdir(folder.get()))
        if (entry->d_name[0] != '.') return entry->d_name;
    return "";
}

std::string use_network() {
    if (!wait_for([] { return !network_card().empty(); })) return "no network card; state " + read_text("/sys/bus/blanket/devices/vif-0/state");
    if (const std::string wrong = bring_up(network_card()); !wrong.empty()) return wrong;
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(22);
    ::inet_pton(AF_INET, parameter("peer", "10.99.0.1").c_str(), &peer.sin_addr);
    std::string wrong;
    const bool answered = wait_for([&] {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const timeval patience{.tv_sec = 10, .tv_usec = 0};
        ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        std::array<char, 64> line{};
        bool good = false;
        if (::connect(fd, reinterpret_cast<const sockaddr*>(&peer), sizeof peer) != 0) wrong = "connect: " + errno_text();
        else if (::recv(fd, line.data(), line.size() - 1, 0) <= 0) wrong = "receive: " + errno_text();
        else good = std::string(line.data()).starts_with("SSH-");
        ::close(fd);
        return good;
    });
    return answered ? "" : wrong;
}

// A card beside the first one, in a network of its own on the same bridge of the provider's: without the word below the first card would answer for its address.
std::string use_second_card(bool fresh) {
    const std::string card = network_card(1), statistics = "/sys/class/net/" + card + "/statistics/";
    if (card.empty()) return "no second card";
    if (const int fd = ::open("/proc/sys/net/ipv4/conf/all/arp_ignore", O_WRONLY | O_CLOEXEC); fd < 0 || ::write(fd, "1", 1) != 1 || ::close(fd) != 0) return "arp_ignore: " + errno_text();
    if (const std::string wrong = bring_up(card, "10.97.0.2"); !wrong.empty()) return wrong;
    const char* const peer = "10.97.0.1";
    const auto reached = [&] {
        const int fd = dial(peer, kServed);
        if (fd >= 0) ::close(fd);
        return fd >= 0;
    };
    if (fresh && !wait_for(reached)) return "nobody answers: " + errno_text();
    const auto bytes = [&](const char* way) { return std::strtoull(read_text(statistics + way + "_bytes").c_str(), nullptr, 10); };
    const auto in = bytes("rx"), out = bytes("tx");
    if (const std::string wrong = both_ways(5, peer); !wrong.empty()) return wrong;
    constexpr std::uint64_t kLeast = 64 * 1024;
    return bytes("rx") - in >= kLeast && bytes("tx") - out >= kLeast ? "" : "the bytes went by another card";
}

// A card whose provider lies as soon as something is sent by it. Whether it does is for others to tell: here packets go out, until it is gone, or for ten seconds.
std::string rogue_card() {
    static int times = 0;
    std::printf("PROBE rogue-card-up-%d\n", ++times);
    if (const std::string wrong = bring_up(network_card(9), "10.98.0.2"); !wrong.empty()) return wrong;
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes);
    sockaddr_in all{};
    all.sin_family = AF_INET;
    all.sin_port = htons(9);
    ::inet_pton(AF_INET, "10.98.0.255", &all.sin_addr);
    for (int i = 0; i < 100 && !network_card(9).empty(); ++i) {
        ::sendto(fd, "x", 1, 0, reinterpret_cast<const sockaddr*>(&all), sizeof all);
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    ::close(fd);
    return "";
}

int serve() {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    sockaddr_in own{};
    own.sin_family = AF_INET;
    own.sin_port = htons(kServed);
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 || ::listen(listener, 8) != 0) return 1;
    for (;;)
        if (const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); fd >= 0) std::thread(answer, fd).detach();  // one whose other end has gone keeps nobody waiting
}

void network_work(const char* name, char what) {
    const bool slow = parameter("slow", "") == "1";
    const std::size_t stream = slow ? kShortStream : kStream;
    const char order = slow && what != 'E' ? static_cast<char>(what - 'A' + 'a') : what;
    constexpr int kRounds = 400;
    std::optional<Meter> meter;
    if (what != 'E') meter.emplace(name);
    const int fd = dial(peer_address(), kServed);
    bool good = fd >= 0 && ::send(fd, &order, 1, MSG_NOSIGNAL) == 1;
    const double s = seconds_of([&] {
        if (what == 'S') good = good && send_bytes(fd, stream) && receive(fd, 1) == 1;
        if (what == 'G') good = good && receive(fd, stream) == stream;
        for (int i = 0; what == 'E' && good && i < kRounds; ++i) good = send_bytes(fd, 64) && receive(fd, 64) == 64;
    });
    const double mib = static_cast<double>(stream) / kMeg;
    if (meter && good) meter->stop(mib);
    ::close(fd);
    if (!good) std::printf("PROBE bench FAILED: %s\n", name);
    else told(name, what == 'E' ? kRounds / s : mib / s, what == 'E' ? "1/s" : "MiB/s");
}

std::string both_ways(int seconds) { return both_ways(seconds, peer_address()); }

std::string both_ways(int seconds, const std::string& peer) {
    const int fd = dial(peer, kServed);
    if (fd < 0 || ::send(fd, "D", 1, MSG_NOSIGNAL) != 1) return "dial: " + errno_text();
    const timeval patience{.tv_sec = 15, .tv_usec = 0};  // also at the end: a peer that has gone by then would be waited for until TCP gives up, after a quarter of an hour
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    std::atomic<bool> stop = false;
    std::atomic<std::size_t> sent = 0, got = 0;
    bool sender_good = false, receiver_good = false;
    std::jthread sender([&] { sender_good = send_pattern(fd, stop, sent); });
    std::jthread receiver([&] { receiver_good = receive_pattern(fd, got); });
    std::string wrong;
    for (int s = 0; s < seconds && wrong.empty(); s += 5) {
        const std::size_t out = sent, in = got;
        std::this_thread::sleep_for(std::chrono::seconds(5));
        if (sent == out || got == in) wrong = "nothing went " + std::string(sent == out ? "out" : "in") + " for 5 s";
    }
    stop = true;
    if (!wrong.empty()) ::shutdown(fd, SHUT_RDWR);
    sender.join();
    receiver.join();
    ::close(fd);
    std::printf("PROBE both-ways %zu KiB out, %zu KiB in\n", sent / 1024, got / 1024);
    if (wrong.empty() && !sender_good) wrong = "the sender broke";
    if (wrong.empty() && !receiver_good) wrong = "wrong data, or none for 15 s, at byte " + std::to_string(got);
    return wrong;
}

}  // namespace blanket::rig
