//! AMQP reply codes with their names on the wire.
//!
//! Source: AMQP 0-9-1 section 1.1 "constants" and RabbitMQ's `rabbit_framing`.

macro_rules! reply_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $hard:literal;)*) => {
        /// A reply code as it stands in close and return methods.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ReplyCode { $($(#[$doc])* $variant,)* }

        impl ReplyCode {
            /// Every code there is.
            pub const ALL: &'static [ReplyCode] = &[$(ReplyCode::$variant),*];

            /// The code with a number.
            pub fn from_code(code: u16) -> Option<ReplyCode> {
                ReplyCode::ALL.iter().copied().find(|known| known.code() == code)
            }

            /// The number on the wire.
            pub const fn code(self) -> u16 {
                match self { $(ReplyCode::$variant => $code,)* }
            }

            /// The name that starts the reply text.
            pub const fn name(self) -> &'static str {
                match self { $(ReplyCode::$variant => $name,)* }
            }

            /// Whether it closes the connection by itself, not only the channel.
            pub const fn is_hard(self) -> bool {
                match self { $(ReplyCode::$variant => $hard,)* }
            }
        }
    };
}

reply_codes! {
    /// Normal close.
    Success = 200, "OK", false;
    /// Message too large for a route.
    ContentTooLarge = 311, "CONTENT_TOO_LARGE", false;
    /// A mandatory message has no queue.
    NoRoute = 312, "NO_ROUTE", false;
    /// An immediate message has no consumer.
    NoConsumers = 313, "NO_CONSUMERS", false;
    /// Permission refused.
    AccessRefused = 403, "ACCESS_REFUSED", false;
    /// No such queue or exchange.
    NotFound = 404, "NOT_FOUND", false;
    /// Exclusive to another connection.
    ResourceLocked = 405, "RESOURCE_LOCKED", false;
    /// Arguments or state do not fit.
    PreconditionFailed = 406, "PRECONDITION_FAILED", false;
    /// The operator or a shutdown closed the connection.
    ConnectionForced = 320, "CONNECTION_FORCED", true;
    /// Unknown vhost path.
    InvalidPath = 402, "INVALID_PATH", true;
    /// A malformed frame.
    FrameError = 501, "FRAME_ERROR", true;
    /// A malformed method.
    SyntaxError = 502, "SYNTAX_ERROR", true;
    /// A method that makes no sense now.
    CommandInvalid = 503, "COMMAND_INVALID", true;
    /// Wrong use of a channel.
    ChannelError = 504, "CHANNEL_ERROR", true;
    /// A frame that does not belong here.
    UnexpectedFrame = 505, "UNEXPECTED_FRAME", true;
    /// A limit of the server.
    ResourceError = 506, "RESOURCE_ERROR", true;
    /// Not allowed for this client.
    NotAllowed = 530, "NOT_ALLOWED", true;
    /// Not supported.
    NotImplemented = 540, "NOT_IMPLEMENTED", true;
    /// The broker's fault.
    InternalError = 541, "INTERNAL_ERROR", true;
}
