// SPDX-License-Identifier: GPL-2.0-or-later
// demo-guest: the one program inside the demo's VMs (static, in the DomU image). As a service it plays every part, and the driver tells it which by HTTP through dom0:
//   demo-guest serve [PORT]   default 8090:
//     GET  /ping                      "<count> <acked>": nginx on port 80 passes it on
//     GET  /tcp                       segments sent again, retransmission timeouts, loss probes since boot
//     GET  /facts                     who am I: hostname, boot id, addresses
//     POST /load?rate_kib=2048&pause_ms=20   start writing records and dirtying memory;  POST /load/stop;  GET /load
//     GET  /seed                      the user-data on the seed disk
//     GET  /acked                     number of the last record on disk
//     GET  /check                     verify the records on disk
//     POST /probe?host=IP&port=80     start the client;  POST /probe/stop;  GET /probe/log?since=N
//   demo-guest check FILE             the same check of a file, as JSON; exit 1 when anything is wrong
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lab/guest/http_server.hpp"
#include "tests/lab/guest/load.hpp"
#include "tests/lab/guest/probe.hpp"
#include "tests/lab/guest/records.hpp"
#include "tests/lab/guest/seed.hpp"

namespace blanket::lab {
namespace {

constexpr const char* kDir = "/var/lib/demo";
constexpr const char* kRecords = "/var/lib/demo/records";

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    std::erase_if(line, [](char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20; });
    return line;
}

std::string facts_json() {
    char host[256] = {};
    ::gethostname(host, sizeof host - 1);
    std::string nics;
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) == 0) {
        for (const ifaddrs* item = list; item != nullptr; item = item->ifa_next) {
            if (item->ifa_addr == nullptr || item->ifa_addr->sa_family != AF_INET || (item->ifa_flags & IFF_LOOPBACK) != 0) continue;
            char text[INET_ADDRSTRLEN] = {};
            sockaddr_in address{};
            __builtin_memcpy(&address, item->ifa_addr, sizeof address);
            ::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
            nics += std::format(R"({}{{"name":"{}","ip":"{}","mac":"{}","mtu":"{}"}})", nics.empty() ? "" : ",", item->ifa_name, text,
                                first_line(std::format("/sys/class/net/{}/address", item->ifa_name)), first_line(std::format("/sys/class/net/{}/mtu", item->ifa_name)));
        }
        ::freeifaddrs(list);
    }
    return std::format(R"({{"hostname":"{}","boot_id":"{}","kernel":"{}","now_ms":{},"nics":[{}]}})", host, first_line("/proc/sys/kernel/random/boot_id"),
                       first_line("/proc/sys/kernel/osrelease"), monotonic_ms(), nics);
}

// A counter of /proc/net/snmp or netstat: a line of names, then a line of values, both begin with the group.
std::uint64_t tcp_counter(const char* path, const std::string& group, const std::string& name) {
    std::ifstream file(path);
    std::string names, values, word;
    while (std::getline(file, names) && std::getline(file, values)) {
        std::istringstream head(names), line(values);
        std::string value;
        if (!(head >> word) || word != group || !(line >> value)) continue;
        while (head >> word && line >> value)
            if (word == name) return std::strtoull(value.c_str(), nullptr, 10);
    }
    return 0;
}

std::string tcp_json() {
    return std::format(R"({{"sent_again":{},"timeouts":{},"probes":{}}})", tcp_counter("/proc/net/snmp", "Tcp:", "RetransSegs"),
                       tcp_counter("/proc/net/netstat", "TcpExt:", "TCPTimeouts"), tcp_counter("/proc/net/netstat", "TcpExt:", "TCPLossProbes"));
}

Result<std::string> check_json(const std::string& path, std::uint64_t acked) {
    BLANKET_TRY(const RecordCheck check, check_records(path, true));
    return std::format(R"({{"records":{},"last":{},"gaps":{},"damaged":{},"tail":{},"acked":{},"lost":{}}})", check.records, check.last, check.gaps, check.damaged, check.tail, acked,
                       check.lost(acked));
}

int serve(std::uint16_t port) {
    ::mkdir(kDir, 0755);
    static Load load(kRecords);
    static Probe probe(std::string(kDir) + "/probe.log");
    std::atomic<std::uint64_t> pings = 0;
    const HttpHandler handler = [&](const HttpRequest& request) -> Result<std::string> {
        const std::string& path = request.path;
        if (path == "/ping") return std::format("{} {}\n", ++pings, load.acknowledged());
        if (path == "/facts") return facts_json();
        if (path == "/tcp") return tcp_json();
        if (path == "/seed") return read_user_data();
        if (path == "/acked") return std::format("{}\n", load.acknowledged());
        if (path == "/check") return check_json(kRecords, load.acknowledged());
        if (path == "/probe/log") return probe.log_since(request.number("since", 0));
        if (path == "/load" && request.method == "GET") return load.status_json();
        if (request.method != "POST") return fail(Kind::kNotFound, "no {} {}", request.method, path);
        if (path == "/load") {
            BLANKET_CHECK(load.start(request.number("rate_kib", 2048), std::chrono::milliseconds(request.number("pause_ms", 20))));
            return load.status_json();
        }
        if (path == "/load/stop") {
            load.stop();
            return load.status_json();
        }
        if (path == "/probe") {
            BLANKET_CHECK(probe.start(request.get("host"), static_cast<std::uint16_t>(request.number("port", 80))));
            return std::string("started\n");
        }
        if (path == "/probe/stop") {
            probe.stop();
            return std::string("stopped\n");
        }
        return fail(Kind::kNotFound, "no POST {}", path);
    };
    const auto served = serve_http(port, handler);
    std::fprintf(stderr, "demo-guest: %s\n", served.error().what.c_str());
    return 1;
}

}  // namespace
}  // namespace blanket::lab

int main(int argc, char** argv) {
    using namespace blanket;
    std::signal(SIGPIPE, SIG_IGN);
    const std::string_view mode = argc > 1 ? argv[1] : "";
    if (mode == "serve") {
        const int port = argc > 2 ? std::atoi(argv[2]) : 8090;
        if (port >= 1 && port <= 65535) return lab::serve(static_cast<std::uint16_t>(port));
    }
    if (mode == "check" && argc == 3) {
        const auto check = lab::check_records(argv[2], true);
        const auto text = lab::check_json(argv[2], check ? check->records : 0);
        std::puts(text ? text->c_str() : text.error().what.c_str());
        return text && check && check->damaged == 0 && check->gaps == 0 ? 0 : 1;
    }
    std::fputs("demo-guest serve [PORT] | demo-guest check FILE\n", stderr);
    return 2;
}
