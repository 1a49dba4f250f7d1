//! gRPC by tonic in worker processes, and its client.
//!
//! ```text
//! cargo run --example grpc_hello [ADDRESS]
//! cargo run --example grpc_hello ask ADDRESS NAME…
//! ```
//!
//! Run the first, and then the second in another terminal with a few names: `ask 127.0.0.1:8087 Ada
//! Linus`. Look at the process that greets: all calls of a client go over one connection, so one worker
//! answers them. A client without a name is an error of gRPC. What `protoc` would write is written by
//! hand in `greeter.rs`, so that nothing needs to be installed.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "it says where it listens, and the client what it was told"
)]

mod greeter;

use std::error::Error;

use hatchery::{HandlerResult, HttpServer, Worker};
use hyper_util::service::TowerToHyperService;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::greeter::{Greeter, GreeterClient, HelloReply, HelloRequest};

#[hatchery::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, address, names @ ..] = &arguments[..]
        && command == "ask"
    {
        return ask(address, names).await;
    }
    let address = arguments.first().map(String::as_str);
    hatchery::Server::builder()
        .bind(address.unwrap_or("127.0.0.1:8087"))
        .workers(4)
        .on_ready(|ready| println!("listening on {}", ready.addresses.join(", ")))
        .run(live)
        .await?;
    Ok(())
}

/// Lives the life of one worker. `Routes` holds as many services as there are.
async fn live(worker: Worker) -> HandlerResult {
    let routes = Routes::new(Greeter).prepare();
    HttpServer::new(&worker)
        .serve(|_client| TowerToHyperService::new(routes.clone()))
        .await;
    Ok(())
}

/// `rpc SayHello (HelloRequest) returns (HelloReply);`
async fn say_hello(request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
    let name = request.into_inner().name;
    if name.is_empty() {
        return Err(Status::invalid_argument("who are you?"));
    }
    Ok(Response::new(HelloReply {
        message: format!("Hello {name}!"),
        process: std::process::id(),
    }))
}

/// Calls once for each name, over one connection.
async fn ask(address: &str, names: &[String]) -> Result<(), Box<dyn Error>> {
    let channel = Channel::from_shared(format!("http://{address}"))?
        .connect()
        .await?;
    let mut client = GreeterClient::new(channel);
    for name in names {
        let request = HelloRequest { name: name.clone() };
        let mut reply = client.say_hello(request.clone()).await;
        if matches!(&reply, Err(status) if status.code() == Code::Cancelled) {
            // It was not sent, for just then the worker said that it goes.
            reply = client.say_hello(request).await;
        }
        match reply {
            Ok(HelloReply { message, process }) => {
                println!("{message} This is process {process}.");
            }
            Err(status) => println!("{:?}: {}", status.code(), status.message()),
        }
    }
    Ok(())
}
