// SPDX-License-Identifier: GPL-2.0-or-later
// See iso9660.hpp. Byte positions are ECMA-119's, counted from zero.
#include "toolstack/core/iso9660.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <format>

namespace blanket {
namespace {

constexpr std::uint32_t kSector = 2048;
constexpr std::uint32_t kPrimary = 16, kTerminator = 17, kPathLittle = 18, kPathBig = 19, kRoot = 20, kFirstFile = 21;  // sectors
constexpr std::uint32_t kPathTableBytes = 10;                                                                          // one entry: the root
constexpr std::uint32_t kFolderMode = 040555, kFileMode = 0100444;

template <typename T>
std::string little(T value) {
    std::string out;
    for (std::size_t i = 0; i < sizeof value; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
    return out;
}
template <typename T>
std::string big(T value) {
    return little(std::byteswap(value));
}
// Most numbers stand there twice, once in each byte order.
template <typename T>
std::string both(T value) {
    return little(value) + big(value);
}

std::uint32_t sectors_of(std::size_t bytes) { return static_cast<std::uint32_t>((bytes + kSector - 1) / kSector); }

std::string padded(std::string text, std::size_t length) {
    text.resize(length, ' ');
    return text;
}

// The files' time is fixed: an image must not depend on when it was made.
std::string record_time() { return {100, 1, 1, 0, 0, 0, 0}; }  // 2000-01-01

std::string system_use(std::string_view signature, std::uint8_t version, const std::string& data) {
    return std::string(signature) + static_cast<char>(4 + data.size()) + static_cast<char>(version) + data;
}

std::string posix_attributes(std::uint32_t mode) { return system_use("PX", 1, both(mode) + both(std::uint32_t{1}) + both(std::uint32_t{0}) + both(std::uint32_t{0})); }

// In the root's entry for itself: Rock Ridge begins here, in this edition.
std::string rock_ridge_marks() {
    constexpr std::string_view kEdition = "RRIP_1991A";
    std::string extension{static_cast<char>(kEdition.size()), 0, 0, 1};
    return system_use("SP", 1, "\xbe\xef" + std::string(1, '\0')) + system_use("ER", 1, extension + std::string(kEdition));
}

std::string record(std::string_view name, std::uint32_t sector, std::size_t bytes, bool folder, const std::string& extra) {
    std::string out(2, '\0');  // its length follows at the end; no extended attributes
    out += both(sector) + both(static_cast<std::uint32_t>(bytes)) + record_time();
    out += static_cast<char>(folder ? 2 : 0);
    out += std::string(2, '\0') + both(std::uint16_t{1});  // no interleaving; the first volume of its set
    out += static_cast<char>(name.size());
    out += name;
    if (out.size() % 2 != 0) out += '\0';
    out += extra;
    if (out.size() % 2 != 0) out += '\0';
    out[0] = static_cast<char>(out.size());
    return out;
}

std::string primary_descriptor(std::string_view label, std::uint32_t sectors) {
    std::string out = "\1CD001\1";
    out += '\0';
    out += padded("LINUX", 32) + padded(std::string(label.substr(0, 32)), 32) + std::string(8, '\0') + both(sectors) + std::string(32, '\0');
    out += both(std::uint16_t{1}) + both(std::uint16_t{1}) + both(std::uint16_t{kSector}) + both(kPathTableBytes);
    out += little(kPathLittle) + little(std::uint32_t{0}) + big(kPathBig) + big(std::uint32_t{0});
    out += record(std::string_view("\0", 1), kRoot, kSector, true, {});
    out += std::string(4 * 128 + 3 * 37, ' ');                    // who made it, and files about it: none
    for (int i = 0; i < 4; ++i) out += std::string(16, '0') + '\0';  // made, changed, expires, valid from: not given
    out += '\1';
    out.resize(kSector, '\0');
    return out;
}

std::string root_folder(const std::vector<IsoFile>& files) {
    const std::string folder = posix_attributes(kFolderMode);
    std::string out = record(std::string_view("\0", 1), kRoot, kSector, true, rock_ridge_marks() + folder);
    out += record(std::string_view("\1", 1), kRoot, kSector, true, folder);
    std::uint32_t sector = kFirstFile;
    for (std::size_t i = 0; i < files.size(); ++i) {
        const std::string& name = files[i].name;
        out += record(std::format("F{}.;1", i), sector, files[i].content.size(), false, posix_attributes(kFileMode) + system_use("NM", 1, '\0' + name));
        sector += sectors_of(files[i].content.size());
    }
    out.resize(kSector, '\0');
    return out;
}

}  // namespace

std::string make_iso9660(std::string_view label, const std::vector<IsoFile>& files) {
    std::uint32_t sectors = kFirstFile;
    for (const auto& file : files) sectors += sectors_of(file.content.size());
    std::string image(std::size_t{kPrimary} * kSector, '\0');
    image += primary_descriptor(label, sectors);
    image += std::string("\xff" "CD001\1");
    image.resize(std::size_t{kPathLittle} * kSector, '\0');
    const std::string root_name(2, '\0');  // the root's name is a zero, padded to an even length
    image += std::string{1, 0} + little(kRoot) + little(std::uint16_t{1}) + root_name;
    image.resize(std::size_t{kPathBig} * kSector, '\0');
    image += std::string{1, 0} + big(kRoot) + big(std::uint16_t{1}) + root_name;
    image.resize(std::size_t{kRoot} * kSector, '\0');
    image += root_folder(files);
    for (const auto& file : files) {
        image += file.content;
        image.resize(std::size_t{sectors_of(image.size())} * kSector, '\0');
    }
    return image;
}

}  // namespace blanket
