//! The seccomp filter: the kernel stops a process only at the calls of [`super::calls`], and lets it run at full speed
//! otherwise (seccomp(2), Documentation/userspace-api/seccomp_filter.rst).
//!
//! Assembled here rather than by the `seccompiler` crate, which ends a process that makes a call of another architecture
//! and does not know x32: such a call has to be let through and be reported.

use libc::sock_filter;

use super::calls::{self, Call, Stops};

/// `SECCOMP_RET_DATA` of any call of another architecture. Those in the list have their place there, from 1.
pub(super) const FOREIGN: u32 = 0;

/// This architecture, as `<linux/audit.h>` names it.
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("which calls look at paths has to be listed for this architecture");

/// Call numbers from here on are those of x32 (`__X32_SYSCALL_BIT`); no architecture has as many.
const X32: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const NR: u32 = std::mem::offset_of!(libc::seccomp_data, nr) as u32;
const ARCH: u32 = std::mem::offset_of!(libc::seccomp_data, arch) as u32;
const ARGS: u32 = std::mem::offset_of!(libc::seccomp_data, args) as u32;

/// The filter, a classic BPF program, that stops at calls as `stops` says.
pub(super) fn program(stops: impl Fn(&Call) -> Stops) -> Vec<sock_filter> {
    let load = |offset| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    let give = |action| op(libc::BPF_RET | libc::BPF_K, action);
    let unless = |what, value| op(libc::BPF_JMP | what | libc::BPF_K, value);
    let mut program = vec![load(ARCH), unless(libc::BPF_JEQ, AUDIT_ARCH), load(NR), unless(libc::BPF_JGE, X32)];
    for (call, place) in calls::all().zip(1..) {
        let mut other = unless(libc::BPF_JEQ, u32::try_from(call.nr).unwrap_or(u32::MAX));
        let stop = give(libc::SECCOMP_RET_TRACE | place);
        match stops(call) {
            Stops::Never => {}
            Stops::Always => {
                other.jf = 1;
                program.extend([other, stop]);
            }
            Stops::If { argument, flags } => {
                other.jf = 4;
                let mut none = unless(libc::BPF_JSET, flags);
                none.jf = 1;
                // Flags are in the low half, which comes first on both architectures.
                let low = load(ARGS + 8 * argument);
                program.extend([other, low, none, stop, give(libc::SECCOMP_RET_ALLOW)]);
            }
        }
    }
    program.push(give(libc::SECCOMP_RET_ALLOW));
    // Jumps count from the instruction after.
    let foreign = |from: usize| u8::try_from(program.len() - from - 1).expect("fewer calls than a jump is long");
    (program[1].jf, program[3].jt) = (foreign(1), foreign(3));
    program.push(give(libc::SECCOMP_RET_TRACE | FOREIGN));
    program
}

fn op(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel runs it (net/core/filter.c), for the instructions that are used here.
    fn run(nr: u32, arch: u32, stops: fn(&Call) -> Stops) -> u32 {
        run_with(nr, arch, [0; 6], stops)
    }

    fn run_with(nr: u32, arch: u32, args: [u32; 6], stops: fn(&Call) -> Stops) -> u32 {
        let program = program(stops);
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
            match u32::from(code) {
                0x20 if k == NR => accumulator = nr,
                0x20 if k == ARCH => accumulator = arch,
                0x20 => accumulator = args[((k - ARGS) / 8) as usize],
                0x15 => jump(accumulator == k),
                0x35 => jump(accumulator >= k),
                0x45 => jump(accumulator & k != 0),
                0x06 => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn every_call_that_is_asked_for_stops_and_no_other() {
        let some: fn(&Call) -> Stops = |call| if call.does.is_none() { Stops::Always } else { Stops::Never };
        let every: fn(&Call) -> Stops = |_| Stops::Always;
        for (nr, stops) in (0..1000).flat_map(|nr| [(nr, some), (nr, every)]) {
            let found = run(nr, AUDIT_ARCH, stops);
            match calls::all().find(|call| call.nr == libc::c_long::from(nr) && stops(call) == Stops::Always) {
                Some(call) => {
                    assert_eq!(found & libc::SECCOMP_RET_ACTION_FULL, libc::SECCOMP_RET_TRACE, "call {nr}");
                    assert_eq!(calls::listed(found & libc::SECCOMP_RET_DATA).unwrap().name, call.name);
                }
                None => assert_eq!(found, libc::SECCOMP_RET_ALLOW, "call {nr}"),
            }
        }
    }

    #[test]
    fn a_call_stops_by_its_flags() {
        let stops: fn(&Call) -> Stops = |call| match call.name {
            "openat" => Stops::If { argument: 2, flags: 0o103 },
            "openat2" => Stops::Always,
            _ => Stops::Never,
        };
        let number = |number: libc::c_long| u32::try_from(number).unwrap();
        let with = |flags: u32| run_with(number(libc::SYS_openat), AUDIT_ARCH, [3, 3, flags, 3, 3, 3], stops);
        assert_eq!((with(0), with(0o200000)), (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_ALLOW));
        for flags in [1, 2, 0o100, 0o200102] {
            assert_eq!(with(flags) & libc::SECCOMP_RET_ACTION_FULL, libc::SECCOMP_RET_TRACE);
            assert_eq!(calls::listed(with(flags) & libc::SECCOMP_RET_DATA).unwrap().name, "openat");
        }
        let after = run(number(libc::SYS_openat2), AUDIT_ARCH, stops);
        assert_eq!(after & libc::SECCOMP_RET_ACTION_FULL, libc::SECCOMP_RET_TRACE);
    }

    #[test]
    fn calls_of_another_architecture_stop_as_such() {
        let foreign = libc::SECCOMP_RET_TRACE | FOREIGN;
        // AUDIT_ARCH_I386 and AUDIT_ARCH_ARM
        for arch in [0x4000_0003, 0x4000_0028] {
            assert_eq!(run(20, arch, |_| Stops::Always), foreign);
            assert_eq!(run(u32::try_from(libc::SYS_openat).unwrap(), arch, |_| Stops::Always), foreign);
        }
        assert_eq!(run(X32 | 39, AUDIT_ARCH, |_| Stops::Never), foreign);
    }
}
