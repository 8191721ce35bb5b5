//! Socket addresses as they are in memory (ip(7), ipv6(7)).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest address that is looked at: `struct sockaddr_in6`.
pub(super) const LENGTH: usize = 28;

/// An address of the internet; none of another family (unix(7), netlink(7)), or half a one.
pub(super) fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET => {
            let octets: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some((Ipv4Addr::from(octets), port).into())
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Some((Ipv6Addr::from(octets), port).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(family: i32) -> [u8; 2] {
        u16::try_from(family).unwrap().to_ne_bytes()
    }

    #[test]
    fn addresses_of_the_internet_are_told_and_no_others() {
        let four = [&family(libc::AF_INET)[..], &[0, 53, 192, 0, 2, 1], &[0; 8]].concat();
        assert_eq!(address(&four).unwrap().to_string(), "192.0.2.1:53");
        assert_eq!(address(&four[..7]), None);
        let mut one = [0; 16];
        one[15] = 1;
        let six = [&family(libc::AF_INET6)[..], &[1, 187], &[0; 4], &one, &[0; 4]].concat();
        assert_eq!(address(&six).unwrap().to_string(), "[::1]:443");
        assert_eq!(six.len(), LENGTH);
        let unix = [&family(libc::AF_UNIX)[..], b"/run/nscd/socket"].concat();
        assert_eq!(address(&unix), None);
    }
}
