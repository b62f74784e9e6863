//! The binary on a small disk that gets full: a file system in memory, for which the test must be allowed to mount one.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use soloist::v1::state_client::StateClient;
use soloist::v1::{DeletePrefixRequest, Value, value};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::process::Process;
use crate::support::{channel, int, read, write};

const MIB: usize = 1 << 20;

/// A small file system in memory.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts it. `None`, with a message that the test runner does not hide, where that is not allowed: then only the
    /// simulated disk shows what happens.
    fn mount(size: &str) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let options = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir.path())
            .output();
        let why = match mount {
            Ok(output) if output.status.success() => return Some(Self(dir)),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let _ = writeln!(
            std::io::stderr(),
            "NOT TESTED, because nothing can be mounted here: the binary on a full disk: {why}"
        );
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills the disk to the last byte, as another program may do.
    fn fill(&self) {
        let mut file = File::create(self.path().join("of-another-program")).unwrap();
        for bytes in [vec![1; MIB], vec![1; 4_096]] {
            while file.write_all(&bytes).is_ok() {}
        }
        let free = nix::sys::statvfs::statvfs(self.path()).unwrap();
        assert_eq!(free.blocks_available(), 0);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

async fn write_bytes(client: &mut StateClient<Channel>, key: &str) -> Result<(), Status> {
    let value = Value {
        kind: Some(value::Kind::Bytes(vec![7; 256 << 10])),
    };
    client.write(write(key, value)).await.map(drop)
}

fn assert_store_full(refused: &Status) {
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    let details = tonic_types::StatusExt::get_error_details(refused);
    assert_eq!(
        details.error_info().unwrap().reason,
        "STORE_FULL",
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_full_disk_is_started_on_and_emptied_by_deletes() {
    let Some(disk) = SmallDisk::mount("48m") else {
        return;
    };
    let dir = disk.path().join("store");
    let args = [
        "--data-dir",
        dir.to_str().unwrap(),
        "--min-free-bytes",
        "4MiB",
    ];
    let mut process = Process::start(&args).await;
    let mut client = StateClient::new(channel(process.addr).await);
    let mut keys = 0;
    let refused = loop {
        match write_bytes(&mut client, &format!("k{keys}")).await {
            Ok(()) => keys += 1,
            Err(refused) => break refused,
        }
    };
    assert_store_full(&refused);
    assert!(keys > 20, "{keys}");
    assert!(refused.message().contains("delete keys"), "{refused:?}");
    assert!(fs::metadata(dir.join("reserve")).unwrap().len() > 0);
    disk.fill();
    process.child.kill().await.unwrap();

    let process = Process::start(&args).await;
    let mut client = StateClient::new(channel(process.addr).await);
    for key in 0..keys {
        let found = client.read(read(format!("k{key}"))).await.unwrap();
        assert!(found.into_inner().entry.is_some(), "k{key} is lost");
    }
    assert_store_full(&write_bytes(&mut client, "new").await.unwrap_err());
    let everything = DeletePrefixRequest {
        every_key: true,
        ..Default::default()
    };
    let deleted = client.delete_prefix(everything).await.unwrap();
    assert_eq!(deleted.into_inner().deleted_count, keys);
    // Two small snapshots are made, and the log is shortened.
    let began = Instant::now();
    while let Err(refused) = write_bytes(&mut client, "new").await {
        assert_store_full(&refused);
        assert!(began.elapsed() < Duration::from_secs(60), "{refused:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.write(write("more", int(1))).await.unwrap();
}
