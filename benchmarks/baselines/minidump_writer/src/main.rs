//! Takes Normal dumps of one process with rust's minidump-writer, as a program that serves requests would.
//!
//! Usage: normal_dumps PID
//!
//! Each line of the standard input is the path of a dump to make; the answer is a line with the seconds that took, the
//! file created and closed, measured here, so without a start of a process and without the pipes.

use std::fs::File;
use std::io::{stdin, stdout, BufRead, Write};
use std::time::Instant;

use minidump_writer::minidump_writer::MinidumpWriterConfig;

fn dump(pid: i32, path: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let mut file = File::create(path)?;
    MinidumpWriterConfig::new(pid, pid).write(&mut file)?;
    drop(file);
    Ok(start.elapsed().as_secs_f64())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pid = std::env::args().nth(1).ok_or("usage: normal_dumps PID")?.parse()?;
    for path in stdin().lock().lines() {
        println!("{}", dump(pid, &path?)?);
        stdout().flush()?;
    }
    Ok(())
}
