// SPDX-License-Identifier: GPL-2.0-or-later
// What is public, with nothing faked but WireGuard and units: two sites with an Open vSwitch each (its data path in user space), the kernel's nftables and
// connection tracking, a guest, and a client outside, each in a network namespace. The guest moves while a connection stands.
//
//   out (203.0.113.9) --- eth0 east: dom0, nftables, gw101, br-int --- u0 == u0 --- west: dom0, br-int
//                                            vif1.0 \___ guest: eth0 10.1.0.2 ___/ vif2.0
#include "fake_host.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <filesystem>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include "net/overlay_ovs.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::net::test {
namespace {

constexpr const char* kGuest = "00000000-0000-4000-8000-000000000001";
constexpr const char* kGuestMac = "02:00:00:00:00:11";
constexpr const char* kOutside = "203.0.113.1";  // east's address outside

struct Place {  // a network namespace, and its Open vSwitch if it has one
    std::string name, folder;
    std::unique_ptr<Child> holder;
    [[nodiscard]] std::string ns() const { return std::format("/proc/{}/ns/net", holder->pid()); }
    [[nodiscard]] Argv in(Argv command) const {
        command.insert(command.begin(), {"nsenter", "--net=" + ns()});
        return command;
    }
    void use() const {
        for (const char* variable : {"OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"}) ::setenv(variable, folder.c_str(), 1);
    }
};

// Runs everything in the site's namespace, except WireGuard (the kernels of build machines lack it: a plain link stands for it) and units.
class PlacedRunner final : public CommandRunner {
public:
    explicit PlacedRunner(const Place& place) : place_(place) {}
    Result<std::string> run(const Command& command) override {
        const std::string& program = command.argv[0];
        if (program == "wg" || program == "systemctl") return std::string();
        place_.use();
        Command placed = command;
        placed.argv = place_.in(command.argv);
        if (program == "ip" && !command.input.empty()) {
            placed.input.clear();
            for (const auto& line : split(trim(command.input), '\n'))
                if (!line.contains("wg-blanket")) placed.input += line + '\n';
            if (placed.input.empty()) return std::string();
        }
        return SystemRunner().run(placed);
    }

private:
    const Place& place_;
};

class PublicReal : public ::testing::Test {
protected:
    void SetUp() override {
        for (const char* program : {"/usr/sbin/ovs-vswitchd", "/usr/sbin/nft", "/usr/bin/nsenter", "/dev/net/tun"})
            if (!std::filesystem::exists(program)) FAIL() << program << " is not there: the build root has it";
        home_ = UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
        if (::unshare(CLONE_NEWNET) != 0) FAIL() << "no network namespace can be made here: tests run as root";
        folder_ = "/tmp/bp-" + random_hex(4);
        quiet_ = UniqueFd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
        for (Place* place : {&out_, &east_, &west_, &guest_}) {
            place->folder = folder_ + "/" + place->name;
            ASSERT_TRUE(make_dirs(place->folder));
            auto holder = Child::spawn({"unshare", "--net", "sleep", "600"}, {.in = -1, .out = quiet_.get(), .err = quiet_.get(), .pass = {}});
            ASSERT_TRUE(holder);
            place->holder = std::make_unique<Child>(std::move(*holder));
            const auto own = std::filesystem::read_symlink("/proc/self/ns/net");
            std::error_code code;
            for (int i = 0; i < 500 && std::filesystem::read_symlink(place->ns(), code) == own; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
            ASSERT_NE(std::filesystem::read_symlink(place->ns(), code), own);
            ASSERT_TRUE(blanket::run(place->in({"ip", "link", "set", "lo", "up"})));
        }
        link(out_, "eth0", east_, "eth0");
        link(east_, "u0", west_, "u0");
        link(guest_, "eth0", east_, "vif1.0");
        batch(out_, "address add 203.0.113.9/24 dev eth0\nlink set eth0 up\n");
        batch(east_, "address add 203.0.113.1/24 dev eth0\nlink set eth0 up\nlink set u0 up\nlink set vif1.0 up\n");
        batch(west_, "link set u0 up\n");
        batch(guest_, std::format("link set eth0 address {} mtu 1390\naddress add 10.1.0.2/24 dev eth0\nlink set eth0 up\n", kGuestMac));
        unsigned index = 0;
        for (Place* place : {&east_, &west_}) {
            start_switch(*place, ++index);
            runners_.push_back(std::make_unique<PlacedRunner>(*place));
            overlays_.push_back(OvsOverlay::create({.site = place->name, .key_path = place->folder + "/wg.key", .dhcp_folder = place->folder + "/dhcp", .datapath = "netdev",
                                                    .forward_control = place->folder + "/ip_forward", .forward_mark = place->folder + "/mark",
                                                    .listeners_folder = std::format("/proc/{}/net", place->holder->pid())},
                                                   runners_.back().get())
                                    .value());
            ASSERT_TRUE(write_file(place->folder + "/ip_forward", "0\n"));
            Site site;
            site.name = place->name;
            site.index = index;
            site.address = std::format("192.0.2.{}", index);
            site.wireguard_key = base64_encode(std::string(31, 'k') + static_cast<char>('0' + index));
            sites_.push_back(site);
        }
        nets_ = {{"lan", 101, "10.1.0.0/24", "10.1.0.1", 1390, {}}};
        vm_.uuid = kGuest;
        vm_.name = "web";
        vm_.owner = "east";
        vm_.phase = Phase::kRunning;
        vm_.nics = {{"lan", kGuestMac, "10.1.0.2"}};
        apply();
        plug(east_, "vif1.0");
        const auto active = overlays_[0]->activate(vm_);
        ASSERT_TRUE(active) << active.error().what;
    }
    void TearDown() override {
        overlays_.clear();
        children_.clear();
        for (Place* place : {&out_, &east_, &west_, &guest_}) place->holder.reset();
        if (!folder_.empty()) std::filesystem::remove_all(folder_);
        if (home_) EXPECT_EQ(::setns(home_.get(), CLONE_NEWNET), 0);
    }

    static void batch(const Place& place, const std::string& lines) {
        const auto done = blanket::run(place.in({"ip", "-batch", "-"}), {.input = lines});
        ASSERT_TRUE(done) << done.error().what;
    }
    // A veth pair whose ends compute their checksums themselves: the data path in user space does not see that a packet lacks it.
    static void link(const Place& a, const std::string& a_name, const Place& b, const std::string& b_name) {
        ASSERT_TRUE(blanket::run({"ip", "link", "add", "pa", "type", "veth", "peer", "name", "pb"}));
        for (const char* name : {"pa", "pb"}) {
            const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
            for (const std::uint32_t feature : {ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO}) {
                ethtool_value off{.cmd = feature, .data = 0};
                ifreq request{};
                std::string_view(name).copy(request.ifr_name, IFNAMSIZ - 1);
                request.ifr_data = reinterpret_cast<char*>(&off);
                ASSERT_EQ(::ioctl(socket.get(), SIOCETHTOOL, &request), 0);
            }
        }
        for (const auto& [device, place, name] : {std::tuple("pa", &a, &a_name), std::tuple("pb", &b, &b_name)})
            ASSERT_TRUE(blanket::run({"ip", "link", "set", device, "netns", std::to_string(place->holder->pid()), "name", *name}));
    }
    void start(const Argv& argv) {
        auto child = Child::spawn(argv, {.in = -1, .out = quiet_.get(), .err = quiet_.get(), .pass = {}});
        ASSERT_TRUE(child) << child.error().what;
        children_.insert(children_.begin(), std::move(*child));
    }
    // The underlay: br-phy holds the site's tunnel address, as wg-blanket would.
    void start_switch(const Place& place, unsigned index) {
        place.use();
        const std::string db = "unix:" + place.folder + "/db.sock";
        ASSERT_TRUE(blanket::run({"ovsdb-tool", "create", place.folder + "/conf.db", "/usr/share/openvswitch/vswitch.ovsschema"}));
        start({"ovsdb-server", place.folder + "/conf.db", "--remote=p" + db, "--unixctl=" + place.folder + "/db.ctl"});
        ASSERT_TRUE(blanket::run({"ovs-vsctl", "--timeout=10", "--retry", "--no-wait", "init"}));
        start(place.in({"ovs-vswitchd", "--disable-system", db, "--unixctl=" + place.folder + "/vswitchd.ctl"}));
        ASSERT_TRUE(blanket::run({"ovs-vsctl", "--timeout=20", "add-br", "br-phy", "--", "set", "Bridge", "br-phy", "datapath_type=netdev", "--", "add-port", "br-phy", "u0"}));
        batch(place, std::format("address add 10.213.{}.1/16 dev br-phy\nlink set br-phy up\n", index));
    }
    static void plug(const Place& place, const std::string& name) {
        place.use();
        const auto done = blanket::run({"ovs-vsctl", "--timeout=10", "add-port", "br-int", name, "--", "set", "Interface", name, std::string("external_ids:vm-uuid=") + kGuest,
                                        std::format("external_ids:vm-mac=\"{}\"", kGuestMac)});
        ASSERT_TRUE(done) << done.error().what;
    }
    // At both sites, and the kernel's switch as they want it.
    void apply() {
        for (std::size_t i = 0; i < overlays_.size(); ++i) {
            const auto done = overlays_[i]->apply(nets_, {vm_}, sites_);
            ASSERT_TRUE(done) << done.error().what;
            const Place& place = i == 0 ? east_ : west_;
            const auto wanted = std::string(trim(read_file(place.folder + "/ip_forward").value()));
            ASSERT_TRUE(blanket::run(place.in({"sysctl", "-q", "-w", "net.ipv4.ip_forward=" + wanted})));
        }
    }
    bool forwards(const Place& place) { return trim(read_file(place.folder + "/ip_forward").value()) == "1"; }

    // Of that namespace, whoever uses it.
    static UniqueFd socket_in(const Place& place, int type) {
        UniqueFd out;
        std::thread([&] {
            const UniqueFd ns(::open(place.ns().c_str(), O_RDONLY | O_CLOEXEC));
            if (::setns(ns.get(), CLONE_NEWNET) == 0) out = UniqueFd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
        }).join();
        const timeval patience{5, 0};
        for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) ::setsockopt(out.get(), SOL_SOCKET, option, &patience, sizeof patience);
        return out;
    }
    static sockaddr_in at(const std::string& ip, std::uint16_t port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(parse_ipv4(ip).value());
        return address;
    }
    static UniqueFd listen_at(const Place& place, std::uint16_t port, int type = SOCK_STREAM) {
        UniqueFd socket = socket_in(place, type);
        const sockaddr_in address = at("0.0.0.0", port);
        EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        if (type == SOCK_STREAM) {
            EXPECT_EQ(::listen(socket.get(), 8), 0);
        }
        return socket;
    }
    static UniqueFd connect_from(const Place& place, const std::string& ip, std::uint16_t port, int seconds = 5) {
        UniqueFd socket = socket_in(place, SOCK_STREAM);
        const timeval patience{seconds, 0};
        ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        const sockaddr_in address = at(ip, port);
        if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
        return socket;
    }
    struct Accepted {
        UniqueFd socket;
        std::string from;
    };
    static Accepted accept_at(const UniqueFd& listener) {
        sockaddr_in peer{};
        socklen_t size = sizeof peer;
        UniqueFd socket(::accept4(listener.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
        return {std::move(socket), format_ipv4(ntohl(peer.sin_addr.s_addr))};
    }
    // As `blanket net trace` tells it, compared with what the switch has.
    void explained(std::size_t at, const std::string& place) {
        const auto seen = overlays_[at]->trace(parse_public_query("web", "tcp:8080", "").value());
        ASSERT_TRUE(seen) << seen.error().what;
        EXPECT_EQ(seen->verdict, "delivered") << seen->reason;
        EXPECT_EQ(seen->answer, "delivered") << seen->reason;
        EXPECT_EQ(seen->reason, "VM 'web' at '" + place + "' gets it");
        for (const auto& line : seen->differences) ADD_FAILURE() << line;
    }
    static bool says(const UniqueFd& from, const UniqueFd& to, std::string_view words) {
        if (::send(from.get(), words.data(), words.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(words.size())) return false;
        std::string heard(words.size(), '\0');
        return ::recv(to.get(), heard.data(), heard.size(), MSG_WAITALL) == static_cast<ssize_t>(heard.size()) && heard == words;
    }
    // To west, as the migration's two halves call it; the guest's own card, sockets and all, goes along.
    void move_west() {
        VmRecord moving = vm_;
        moving.phase = Phase::kMigrating;
        moving.migration = Migration{"m", "west"};
        vm_ = moving;
        apply();
        ASSERT_TRUE(overlays_[0]->divert(moving, sites_[1]));
        ASSERT_TRUE(overlays_[0]->redirect(moving, sites_[1]));
        east_.use();
        ASSERT_TRUE(blanket::run({"ovs-vsctl", "--timeout=10", "del-port", "br-int", "vif1.0"}));
        ASSERT_TRUE(blanket::run(east_.in({"ip", "link", "set", "vif1.0", "netns", std::to_string(west_.holder->pid()), "name", "vif2.0"})));
        batch(west_, "link set vif2.0 up\n");
        plug(west_, "vif2.0");
        vm_.phase = Phase::kRunning;
        vm_.migration.reset();
        vm_.owner = "west";
        ++vm_.epoch;
        const auto active = overlays_[1]->activate(vm_);
        ASSERT_TRUE(active) << active.error().what;
    }
    void expose(std::vector<PublicPort> ports) {
        nets_[0].anchors = {{"east", "10.1.0.254", std::move(ports)}};
        apply();
    }

    UniqueFd home_, quiet_;
    std::string folder_;
    Place out_{"out", {}, {}}, east_{"east", {}, {}}, west_{"west", {}, {}}, guest_{"guest", {}, {}};
    std::vector<Child> children_;
    std::vector<std::unique_ptr<PlacedRunner>> runners_;
    std::vector<std::unique_ptr<OvsOverlay>> overlays_;
    std::vector<Net> nets_;
    std::vector<Site> sites_;
    VmRecord vm_;
};

TEST_F(PublicReal, AConnectionFromOutsideLivesOnWhenTheGuestMoves) {
    const UniqueFd server = listen_at(guest_, 80);
    EXPECT_FALSE(connect_from(out_, kOutside, 8080, 1)) << "nothing is public yet";
    EXPECT_FALSE(forwards(east_));
    expose({{kGuest, RuleProto::kTcp, 8080, 80}});
    EXPECT_TRUE(forwards(east_));
    EXPECT_FALSE(forwards(west_)) << "only the anchor's host forwards";
    const UniqueFd client = connect_from(out_, kOutside, 8080);
    ASSERT_TRUE(client);
    const Accepted inside = accept_at(server);
    ASSERT_TRUE(inside.socket);
    EXPECT_EQ(inside.from, "10.1.0.254");
    EXPECT_TRUE(says(client, inside.socket, "before") && says(inside.socket, client, "and back"));

    explained(0, "east");
    move_west();
    EXPECT_TRUE(says(client, inside.socket, "at the new site, east has not heard yet") && says(inside.socket, client, "answered from there"));
    apply();
    for (const std::size_t site : {0, 1}) explained(site, "west");
    const std::string much(200'000, 'x');  // more than one packet, both ways
    EXPECT_TRUE(says(client, inside.socket, much) && says(inside.socket, client, much));
    const UniqueFd second = connect_from(out_, kOutside, 8080);
    ASSERT_TRUE(second) << "a new connection finds it there";
    const Accepted again = accept_at(server);
    EXPECT_TRUE(says(second, again.socket, "new"));

    nets_[0].anchors[0].ports.push_back({kGuest, RuleProto::kUdp, 5353, 5353});
    apply();
    EXPECT_TRUE(says(client, inside.socket, "new rules do not break what stands"));
    const UniqueFd names = listen_at(guest_, 5353, SOCK_DGRAM), asker = socket_in(out_, SOCK_DGRAM);
    const sockaddr_in address = at(kOutside, 5353);
    ASSERT_EQ(::connect(asker.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::send(asker.get(), "who", 3, 0), 3);
    char heard[8];
    sockaddr_in from{};
    socklen_t size = sizeof from;
    ASSERT_EQ(::recvfrom(names.get(), heard, sizeof heard, 0, reinterpret_cast<sockaddr*>(&from), &size), 3);
    ASSERT_EQ(::sendto(names.get(), "me", 2, 0, reinterpret_cast<sockaddr*>(&from), size), 2);
    EXPECT_EQ(::recv(asker.get(), heard, sizeof heard, 0), 2) << "from the address that was asked: the socket hears nobody else";

    nets_[0].anchors.clear();
    apply();
    EXPECT_FALSE(forwards(east_));
    EXPECT_FALSE(connect_from(out_, kOutside, 8080, 1));
    EXPECT_FALSE(says(client, inside.socket, "closed"));
}

// A DHCPDECLINE in a neighbour's name would take that one's address out of dnsmasq's service: what a message says inside is the sender's own address, or nobody hears it.
TEST_F(PublicReal, AGuestSpeaksDhcpInItsOwnNameOnly) {
    VmRecord neighbour = vm_;
    neighbour.uuid.back() = '2';
    neighbour.nics[0] = {"lan", "02:00:00:00:00:12", "10.1.0.3"};
    const auto done = overlays_[0]->apply(nets_, {vm_, neighbour}, sites_);
    ASSERT_TRUE(done) << done.error().what;
    // With the data path in user space the host's kernel sees the guest's frames as well, and answers its ARP question, too.
    batch(guest_, std::format("neighbour replace 10.1.0.1 lladdr {} dev eth0\n", format_mac(gateway_mac(101))));
    const UniqueFd server = listen_at(east_, 67, SOCK_DGRAM), guest = listen_at(guest_, 68, SOCK_DGRAM), other = listen_at(guest_, 1068, SOCK_DGRAM);
    const sockaddr_in gateway = at("10.1.0.1", 67);
    const auto say = [&](const UniqueFd& from, char whose, std::size_t size) {
        std::string message(size, '\0');
        message[0] = 1;  // BOOTREQUEST
        message[1] = 1;  // Ethernet
        message[2] = 6;
        message[28] = 2;  // chaddr
        message[33] = whose;
        ASSERT_EQ(::sendto(from.get(), message.data(), message.size(), 0, reinterpret_cast<const sockaddr*>(&gateway), sizeof gateway), static_cast<ssize_t>(size));
    };
    say(guest, 0x12, 300);
    say(guest, 0x13, 300);
    say(guest, 0x12, 3000);  // in fragments
    say(guest, 0x11, 301);
    say(other, 0x11, 302);  // from a port that no client has
    say(guest, 0x11, 303);
    std::array<char, 4096> heard;
    EXPECT_EQ(::recv(server.get(), heard.data(), heard.size(), 0), 301);
    EXPECT_EQ(::recv(server.get(), heard.data(), heard.size(), 0), 303);
    EXPECT_EQ(::recv(server.get(), heard.data(), heard.size(), MSG_DONTWAIT), -1);
}

TEST_F(PublicReal, NothingElseIsOpened) {
    const UniqueFd ssh = listen_at(guest_, 22), web = listen_at(guest_, 80), own = listen_at(east_, 2222), elsewhere = listen_at(out_, 443);
    expose({{kGuest, RuleProto::kTcp, 8080, 80}, {kGuest, RuleProto::kTcp, 2222, 80}});
    ASSERT_TRUE(connect_from(out_, kOutside, 8080));
    ASSERT_TRUE(accept_at(web).socket);
    const UniqueFd to_host = connect_from(out_, kOutside, 2222);
    ASSERT_TRUE(to_host);
    EXPECT_TRUE(accept_at(own).socket) << "the host's own port stays the host's, whatever the record says";
    for (const unsigned short port : std::initializer_list<unsigned short>{22, 80, 443, 7443}) EXPECT_FALSE(connect_from(out_, kOutside, port, 1)) << port;
    batch(out_, "route add 10.1.0.0/24 via 203.0.113.1\n");  // an outsider who knows the network's addresses
    for (const unsigned short port : std::initializer_list<unsigned short>{22, 80}) EXPECT_FALSE(connect_from(out_, "10.1.0.2", port, 1)) << port;
    EXPECT_FALSE(connect_from(out_, "10.1.0.1", 2222, 1) && accept_at(web).socket);
    // The guest makes itself a way out by the anchor, or by the gateway.
    batch(out_, "address add 169.254.169.254/32 dev lo\n");
    for (const char* way : {"10.1.0.254", "10.1.0.1"}) {
        batch(guest_, std::format("route replace default via {}\n", way));
        EXPECT_FALSE(connect_from(guest_, "203.0.113.9", 443, 1)) << way;
        EXPECT_FALSE(connect_from(guest_, "169.254.169.254", 443, 1)) << way;
        EXPECT_FALSE(connect_from(guest_, kOutside, 2222, 1)) << "the host, " << way;
    }
    EXPECT_FALSE(connect_from(guest_, "10.1.0.254", 8080, 1));
    batch(guest_, "route del default\n");
    // Security groups still hold.
    SecurityGroup closed{.name = "web", .everybody = true, .rules = default_rules(), .vms = {}};
    nets_[0].groups = {closed};
    apply();
    EXPECT_FALSE(connect_from(out_, kOutside, 8080, 1)) << "no rule lets it in";
    SecurityRule open;
    open.proto = RuleProto::kTcp;
    open.first_port = open.last_port = 80;
    nets_[0].groups[0].rules.push_back(open);
    apply();
    const UniqueFd allowed = connect_from(out_, kOutside, 8080);
    ASSERT_TRUE(allowed);
    const Accepted inside = accept_at(web);
    EXPECT_TRUE(says(inside.socket, allowed, "a rule lets it in"));
}

}  // namespace
}  // namespace blanket::net::test
