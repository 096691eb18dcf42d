//! A certificate authority of the test's own, made by openssl.

use std::path::Path;
use std::process::Command;

/// Makes `ca.pem`, `server.pem` and `.key` for localhost, `client.pem` and `.key`, and `other-ca.pem`.
pub fn certificates(dir: &Path) {
    let script = "set -e
        for ca in ca other-ca; do
          openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
            -keyout $ca.key -out $ca.pem -subj /CN=$ca -addext basicConstraints=critical,CA:TRUE
        done
        for name in server client; do
          openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
            -keyout $name.key -out $name.csr -subj /CN=$name
          printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > ext
          openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out $name.pem -extfile ext
        done";
    let done = Command::new("sh").args(["-c", script]).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
