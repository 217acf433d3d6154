//! What is under way between the two ends of a connection.

use std::io;

use bytes::Bytes;

use super::SocketId;

#[derive(Debug)]
pub(super) enum Parcel {
    Dial { socket: SocketId, reported: bool },
    Answer(SocketId, Option<io::ErrorKind>),
    ToServer(SocketId, Bytes),
    HangUp(SocketId),
    ToClient(SocketId, Bytes),
    End(SocketId, Option<io::ErrorKind>),
}

impl Parcel {
    pub(super) fn is_dial_of(&self, id: SocketId) -> bool {
        matches!(self, Self::Dial { socket, .. } if *socket == id)
    }

    pub(super) fn is_to_client(&self, socket: SocketId) -> bool {
        match self {
            Self::Answer(to, _) | Self::ToClient(to, _) | Self::End(to, _) => *to == socket,
            Self::Dial { .. } | Self::ToServer(..) | Self::HangUp(_) => false,
        }
    }

    pub(super) fn is_to_server(&self, socket: SocketId) -> bool {
        match self {
            Self::ToServer(from, _) | Self::HangUp(from) => *from == socket,
            Self::Dial { .. } | Self::Answer(..) | Self::ToClient(..) | Self::End(..) => false,
        }
    }
}
