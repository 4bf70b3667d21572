// SPDX-License-Identifier: GPL-2.0-or-later
// The lab's WAN: one thread that switches ethernet frames between nodes over links with delay, rate, loss and cuts. Nodes are QEMU machines (`-netdev dgram` on unix
// sockets) and the lab host (a TAP device). Lab owns one; blanket-shaper is the same thing as a program. Every public method is thread safe.
//
//   east <---- link(east,west), link(west,east) ----> west
//     \ link(east,witness) ...                        /         each ordered pair of nodes is one Link (shaper_link.hpp)
//      ------------------> witness (TAP) <-----------
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "tests/lab/recorder.hpp"
#include "tests/lab/shaper_link.hpp"
#include "toolstack/base/fd.hpp"

namespace blanket::lab {

class Shaper final {
public:
    // `realtime`: run the thread under SCHED_RR where the kernel permits, so that busy CPUs add no delay of their own.
    static Result<std::unique_ptr<Shaper>> create(bool realtime = true);
    ~Shaper();
    Shaper(const Shaper&) = delete;
    Shaper& operator=(const Shaper&) = delete;

    // A machine: we bind `ours`, frames to it go to the socket that it binds at `theirs` (it may come and go). One datagram = one frame.
    Result<void> add_machine(const std::string& name, const std::string& ours, const std::string& theirs);
    // The lab host: `tap` reads and writes single frames without a head (IFF_TAP | IFF_NO_PI).
    Result<void> add_host(const std::string& name, UniqueFd tap);

    Result<void> set_link(const std::string& from, const std::string& to, const Json& change);  // fields of parse_link
    // Copies of every frame that enters the link between `a` and `b`, in both directions, go to the recorder.
    Result<void> watch(const std::string& a, const std::string& b);
    Recorder& recorder() { return recorder_; }

    Result<void> mark(const std::string& name);  // remembers the time and the byte counters under a name (at most 1000)
    Json stats();                                // {now_ms, links:{"east>west":{...}}, nodes:{...}, marks:[...], recorder:{...}}
    // The control language: {"cmd":"link","from","to",...} | {"cmd":"stats"} | {"cmd":"mark","name"} | {"cmd":"capture","file","max_bytes"} | {"cmd":"search","patterns":[...]}
    // | {"cmd":"watch","a","b"}. "both":true with link sets both directions.
    Result<Json> command(const Json& request);

private:
    static constexpr std::size_t kMaxNodes = 16;
    struct Waiting {
        Nanos entered, due;
        Frame frame;
    };
    struct Node {
        std::string name, theirs;
        UniqueFd fd;
        bool tap = false;
        std::deque<Frame> backlog;  // the receiver does not take frames now; bounded
        std::uint64_t unread = 0;   // frames that died because it took none
    };
    struct Path {
        Link link;
        std::deque<Waiting> frames;  // on the way, in order of `due`
        std::uint64_t flying = 0;    // bytes in `frames`
        bool watched = false;
        explicit Path(const LinkSettings& settings) : link(settings) {}
    };
    using Pair = std::pair<std::size_t, std::size_t>;

    Shaper();
    void work(const std::stop_token& stop);
    Nanos run_once();  // moves what is due; returns how long nothing is due
    void read_node(std::size_t from);
    void enter(std::size_t from, Frame frame, Nanos now);
    void enter_link(std::size_t from, std::size_t to, const Frame& frame, Nanos now);
    bool send(Node& node, const Frame& frame);
    void drain(Node& node);
    Result<std::size_t> index_of(const std::string& name) const;
    Result<void> add_node(Node node);

    std::mutex lock_;
    std::vector<Node> nodes_;
    std::map<Pair, Path> paths_;
    std::unordered_map<std::uint64_t, std::size_t> learned_;  // MAC -> node
    std::mt19937_64 random_{std::random_device{}()};
    Json marks_ = Json::array();
    UniqueFd wake_;
    std::vector<std::byte> buffer_;
    Recorder recorder_;
    std::jthread thread_;
};

}  // namespace blanket::lab
