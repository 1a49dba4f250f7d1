//! What `tonic-prost-build` would write of `hello.proto`, by hand.

use std::convert::Infallible;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::client;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

const SAY_HELLO: &str = "/hello.Greeter/SayHello";

/// `message HelloRequest { string name = 1; }`
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HelloRequest {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

/// `message HelloReply { string message = 1; uint32 process = 2; }`
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HelloReply {
    #[prost(string, tag = "1")]
    pub(crate) message: String,
    #[prost(uint32, tag = "2")]
    pub(crate) process: u32,
}

/// `service Greeter`, as `tonic-prost-build` would write it.
#[derive(Clone)]
pub(crate) struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "hello.Greeter";
}

impl Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _task: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() != SAY_HELLO {
                return Ok(Status::unimplemented("").into_http());
            }
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.unary(SayHello, request).await)
        })
    }
}

struct SayHello;

impl UnaryService<HelloRequest> for SayHello {
    type Response = HelloReply;
    type Future = BoxFuture<Response<HelloReply>, Status>;

    fn call(&mut self, request: Request<HelloRequest>) -> Self::Future {
        Box::pin(crate::say_hello(request))
    }
}

/// A client of `service Greeter`.
pub(crate) struct GreeterClient(client::Grpc<Channel>);

impl GreeterClient {
    pub(crate) fn new(channel: Channel) -> Self {
        Self(client::Grpc::new(channel))
    }

    pub(crate) async fn say_hello(&mut self, request: HelloRequest) -> Result<HelloReply, Status> {
        let ready = self.0.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        let (path, codec) = (PathAndQuery::from_static(SAY_HELLO), ProstCodec::default());
        let reply = self.0.unary(Request::new(request), path, codec).await?;
        Ok(reply.into_inner())
    }
}
