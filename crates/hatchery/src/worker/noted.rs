//! A service of HTTP of whose requests and answers it is known when they begin and end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::Service;
use hyper::{Request, Response};
use pin_project_lite::pin_project;

use super::turns::Turns;

/// A service whose requests and answers are noted, and whose last answer says that it is.
#[derive(Debug)]
pub(super) struct Noted<S> {
    service: S,
    turns: Arc<Turns>,
}

impl<S> Noted<S> {
    pub(super) fn new(service: S, turns: Arc<Turns>) -> Self {
        Self { service, turns }
    }
}

impl<B, A, S> Service<Request<B>> for Noted<S>
where
    S: Service<Request<B>, Response = Response<A>>,
{
    type Response = Response<NotedBody<A>>;
    type Error = S::Error;
    type Future = NotedCall<S::Future>;

    fn call(&self, request: Request<B>) -> Self::Future {
        self.turns.asks(&request);
        NotedCall {
            is_last: self.turns.is_last(),
            call: self.service.call(request),
            turns: Arc::clone(&self.turns),
        }
    }
}

pin_project! {
    /// A call whose answer is noted.
    pub(super) struct NotedCall<F> {
        #[pin]
        call: F,
        turns: Arc<Turns>,
        is_last: bool,
    }
}

impl<F, A, E> Future for NotedCall<F>
where
    F: Future<Output = Result<Response<A>, E>>,
{
    type Output = Result<Response<NotedBody<A>>, E>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.project();
        let mut answer = ready!(call.call.poll(task))?;
        if *call.is_last {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
        }
        let on_its_way = OnItsWay::new(Arc::clone(call.turns));
        Poll::Ready(Ok(answer.map(|body| NotedBody { body, on_its_way })))
    }
}

pin_project! {
    /// The body of an answer; hyper drops it once it has all of it.
    pub(super) struct NotedBody<B> {
        #[pin]
        body: B,
        on_its_way: OnItsWay,
    }
}

impl<B: Body> Body for NotedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(task)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Notes that an answer is on its way, until it is dropped.
struct OnItsWay(Arc<Turns>);

impl OnItsWay {
    fn new(turns: Arc<Turns>) -> Self {
        turns.answers(true);
        Self(turns)
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.answers(false);
    }
}
