//! The start of a connection as a pure state machine: the server drives it, it says what is legal.
//!
//! ```text
//!   client                                   broker                 state
//!   AMQP 0 0 9 1  ------------------------>                         check_protocol_header
//!                 <------------------------  start                  Starting
//!   start-ok      ------------------------>                         Securing  (credentials_came)
//!                 <------------------------  secure, if need be     Securing
//!   secure-ok     ------------------------>                         Securing
//!                 <------------------------  tune                   Tuning    (tune_sent)
//!   tune-ok       ------------------------>                         Opening   (tuned)
//!   open          ------------------------>
//!                 <------------------------  open-ok                Running   (opened)
//!
//!   +----------+ credentials_came +----------+ tune_sent +--------+ tuned +---------+ opened +---------+
//!   | Starting |----------------->| Securing |---------->| Tuning |------>| Opening |------->| Running |
//!   +----------+                  +----------+           +--------+       +---------+        +---------+
//! ```
//! Invariant: states are gone through in this order, none is left out, none comes back.
//! Source: AMQP 0-9-1 section 2.2.4, RabbitMQ's `rabbit_reader:handle_method0`.

mod negotiate;
mod sasl;

use crate::frame::{Frame, unexpected_frame};
use crate::method::Method;
pub use negotiate::{Offer, Tuned, check_protocol_header, negotiate};
pub use sasl::{parse_amqplain, parse_plain};
use std::fmt;
use types::{AmqpError, FieldTable, ReplyCode};

/// Where a connection's start has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// start was sent.
    Starting,
    /// The client has answered, its credentials are being judged.
    Securing,
    /// tune was sent.
    Tuning,
    /// Limits are agreed, the vhost is not open yet.
    Opening,
    /// open-ok was sent.
    Running,
}

impl fmt::Display for State {
    /// RabbitMQ's names, as in `connection.state` and in error texts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Starting => "starting",
            State::Securing => "securing",
            State::Tuning => "tuning",
            State::Opening => "opening",
            State::Running => "running",
        })
    }
}

/// What a legal method asks of the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step<'a> {
    /// start-ok: look up the mechanism and judge the response.
    StartOk {
        /// What the client tells of itself; `capabilities` among it.
        client_properties: &'a FieldTable,
        /// The mechanism's name.
        mechanism: &'a str,
        /// The mechanism's first response.
        response: &'a [u8],
    },
    /// secure-ok: judge the next response.
    SecureOk {
        /// The answer to the challenge.
        response: &'a [u8],
    },
    /// tune-ok with limits that are within the offer.
    TuneOk(Tuned),
    /// open: check the vhost and the right to it.
    Open {
        /// The vhost's name.
        virtual_host: &'a str,
    },
}

/// The start of one connection.
#[derive(Clone, Debug)]
pub struct Handshake {
    state: State,
    offer: Offer,
}

impl Handshake {
    /// A connection whose protocol header was good and to which start was sent; `offer` will be tune's.
    pub fn new(offer: Offer) -> Handshake {
        Handshake { state: State::Starting, offer }
    }

    /// Where it has got to.
    pub fn state(&self) -> State {
        self.state
    }

    /// What tune offers.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Until the vhost is open only methods and heartbeats of channel 0 may come.
    pub fn check_frame(&self, frame: &Frame<'_>) -> Result<(), AmqpError> {
        frame.check_place()?;
        // Section 2.2.4: the client opens channels after open-ok.
        if frame.channel != 0 && self.state != State::Running {
            return Err(unexpected_frame(frame.kind, frame.payload));
        }
        Ok(())
    }

    /// What `method` asks in this state, or why it may not come now.
    pub fn expect<'a>(&self, method: &'a Method) -> Result<Step<'a>, AmqpError> {
        match (self.state, method) {
            (
                State::Starting,
                Method::ConnectionStartOk { client_properties, mechanism, response, locale: _ },
            ) => Ok(Step::StartOk { client_properties, mechanism, response }),
            (State::Securing, Method::ConnectionSecureOk { response }) => Ok(Step::SecureOk { response }),
            (State::Tuning, &Method::ConnectionTuneOk { channel_max, frame_max, heartbeat }) => {
                negotiate(&self.offer, channel_max, frame_max, heartbeat).map(Step::TuneOk)
            }
            (State::Opening, Method::ConnectionOpen { virtual_host }) => Ok(Step::Open { virtual_host }),
            (state, _) => {
                Err(AmqpError::channel_error(format!("unexpected method in connection state {state}")))
            }
        }
    }

    /// start-ok was taken.
    pub fn credentials_came(&mut self) {
        self.step(State::Starting, State::Securing);
    }

    /// The client may come in, tune was sent.
    pub fn tune_sent(&mut self) {
        self.step(State::Securing, State::Tuning);
    }

    /// tune-ok was taken.
    pub fn tuned(&mut self) {
        self.step(State::Tuning, State::Opening);
    }

    /// open-ok was sent.
    pub fn opened(&mut self) {
        self.step(State::Opening, State::Running);
    }

    fn step(&mut self, from: State, to: State) {
        debug_assert_eq!(self.state, from);
        if self.state == from {
            self.state = to;
        }
    }

    /// Whether the client is told of this error by connection.close. If not, RabbitMQ closes the socket
    /// without a word after three seconds; `closes_on_failure` is the client's capability
    /// `authentication_failure_close`.
    pub fn tells(&self, error: &AmqpError, closes_on_failure: bool) -> bool {
        match self.state {
            // RabbitMQ judges the first response, too, in the state before `Securing`.
            State::Starting | State::Securing => error.code == ReplyCode::AccessRefused && closes_on_failure,
            State::Tuning => error.code == ReplyCode::NotAllowed,
            State::Opening | State::Running => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameKind;
    use bytes::Bytes;

    const OFFER: Offer = Offer { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };

    fn methods() -> [Method; 4] {
        [
            Method::ConnectionStartOk {
                client_properties: FieldTable::new(),
                mechanism: "PLAIN".into(),
                response: Bytes::from_static(b"\0guest\0guest"),
                locale: "en_US".into(),
            },
            Method::ConnectionSecureOk { response: Bytes::new() },
            Method::ConnectionTuneOk { channel_max: 10, frame_max: 8192, heartbeat: 5 },
            Method::ConnectionOpen { virtual_host: "/".into() },
        ]
    }

    #[test]
    fn each_state_takes_its_own_method_only() {
        let advance =
            [Handshake::credentials_came, Handshake::tune_sent, Handshake::tuned, Handshake::opened];
        let names = ["starting", "securing", "tuning", "opening", "running"];
        let mut handshake = Handshake::new(OFFER);
        for (place, name) in names.into_iter().enumerate() {
            assert_eq!(handshake.state().to_string(), name);
            for (which, method) in methods().iter().enumerate() {
                match handshake.expect(method) {
                    Ok(_) => assert_eq!(which, place),
                    Err(error) => {
                        assert_ne!(which, place);
                        let text = format!("CHANNEL_ERROR - unexpected method in connection state {name}");
                        assert_eq!(error.reply_text(), text);
                    }
                }
            }
            if let Some(advance) = advance.get(place) {
                advance(&mut handshake);
            }
        }
    }

    #[test]
    fn tune_ok_is_judged() {
        let mut handshake = Handshake::new(OFFER);
        handshake.credentials_came();
        handshake.tune_sent();
        let tuned = Tuned { channel_max: 10, frame_max: 8192, heartbeat: 5 };
        assert_eq!(handshake.expect(&methods()[2]), Ok(Step::TuneOk(tuned)));
        let greedy = Method::ConnectionTuneOk { channel_max: 10, frame_max: 0, heartbeat: 5 };
        let error = handshake.expect(&greedy).unwrap_err();
        assert!(error.code == ReplyCode::NotAllowed && handshake.tells(&error, false));
    }

    #[test]
    fn channels_wait_for_the_vhost() {
        let mut handshake = Handshake::new(OFFER);
        let frame = |channel| Frame { kind: FrameKind::Method, channel, payload: &[] };
        assert!(handshake.check_frame(&frame(0)).is_ok());
        let error = handshake.check_frame(&frame(1)).unwrap_err();
        assert_eq!(error.reply_text(), "UNEXPECTED_FRAME - type 1, all octets = <<>>");
        assert!(!handshake.tells(&error, true));
        let refused = AmqpError::access_refused("");
        assert!(handshake.tells(&refused, true) && !handshake.tells(&refused, false));
        handshake.credentials_came();
        handshake.tune_sent();
        handshake.tuned();
        handshake.opened();
        assert!(handshake.check_frame(&frame(1)).is_ok() && handshake.tells(&error, false));
    }
}
