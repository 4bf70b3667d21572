// SPDX-License-Identifier: GPL-2.0-or-later
// Texts and image of the seed; see seed.hpp.
#include "tests/lab/seed.hpp"

#include "toolstack/base/file.hpp"

namespace blanket::lab {

SeedTexts plan_seed(const MachineProfile& profile, const std::string& ssh_public_key) {
    SeedTexts texts;
    texts.meta_data = std::format("instance-id: lab-{0}\nlocal-hostname: {0}\n", profile.name);
    texts.user_data = std::format(
        "#cloud-config\n"
        "hostname: {0}\n"
        "ssh_authorized_keys:\n"
        "  - {1}\n"
        "write_files:\n"
        "  - path: /etc/blanket/blanket.toml\n"
        "    permissions: '0644'\n"
        "    content: |\n"
        "      [site]\n"
        "      name = \"{0}\"\n",
        profile.name, ssh_public_key);
    texts.network_config = std::format(
        "version: 2\n"
        "ethernets:\n"
        "  uplink:\n"
        "    match:\n"
        "      macaddress: \"{}\"\n"
        "    addresses: [{}/24]\n"
        "    routes:\n"
        "      - to: 0.0.0.0/0\n"
        "        via: {}\n",
        profile.mac, profile.address, kLabAddress);
    return texts;
}

Result<void> make_seed(const SeedTexts& texts, const std::string& dir, const std::string& image) {
    BLANKET_CHECK(write_file(dir + "/meta-data", texts.meta_data));
    BLANKET_CHECK(write_file(dir + "/user-data", texts.user_data));
    BLANKET_CHECK(write_file(dir + "/network-config", texts.network_config));
    BLANKET_CHECK(remove_file(image));
    BLANKET_CHECK(run({"truncate", "-s", "4M", image}));
    BLANKET_CHECK(run({"mkfs.vfat", "-n", "CIDATA", image}));
    BLANKET_CHECK(run({"mcopy", "-i", image, dir + "/meta-data", dir + "/user-data", dir + "/network-config", "::/"}));
    return {};
}

}  // namespace blanket::lab
