// SPDX-License-Identifier: GPL-2.0-or-later
// A temporary folder and identities signed by a CA in it, for tests of peer/ and registry/.
#pragma once

#include <filesystem>
#include <string>
#include <unistd.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/peer/pki.hpp"
#include "toolstack/peer/tls_context.hpp"

namespace blanket::test {

class TempDir {
public:
    TempDir() : path_("/tmp/blanket-test-" + random_hex(6)) { std::filesystem::create_directories(path_); }
    ~TempDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

// A federation: identity("east") writes its files below dir/east and loads them. Throws (value() of an error) when anything fails.
class Authority {
public:
    explicit Authority(std::string dir, const std::string& name = "test") : dir_(std::move(dir)), ca_(make_ca(name).value()) {}
    TlsContext identity(const std::string& name, const std::string& address = "127.0.0.1") const { return TlsContext::load(files(name, address)).value(); }
    PkiPaths files(const std::string& name, const std::string& address = "127.0.0.1") const {
        const PkiPaths paths = PkiPaths::in(dir_ + "/" + name);
        make_dirs(dir_ + "/" + name, 0700).value();
        const CsrAndKey request = make_csr({name, address}).value();
        write_file(paths.ca_cert, ca_.cert).value();
        write_file(paths.cert, sign_csr(ca_, request.csr, {name, address}).value()).value();
        write_file(paths.key, request.key, 0600).value();
        return paths;
    }
    [[nodiscard]] const CertAndKey& ca() const { return ca_; }

private:
    std::string dir_;
    CertAndKey ca_;
};

}  // namespace blanket::test
