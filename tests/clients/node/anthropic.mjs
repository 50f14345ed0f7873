// An app on Anthropic's SDK for Node.js, before one target.
import assert from 'node:assert/strict';
import Anthropic, { APIError, APIUserAbortError, BadRequestError, NotFoundError, RateLimitError } from '@anthropic-ai/sdk';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';
import { counting, endsAtTheTarget, tell, where } from './stories.mjs';

const model = where.target;
const max_tokens = 100;
const fetch = counting();
const app = new Anthropic({ baseURL: where.sidecar, apiKey: 'key-of-the-app', fetch });
const messages = [{ role: 'user', content: 'Hello' }];
const place = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const both = [{ role: 'user', content: 'weather and traffic, in parallel' }];
const tools = ['get_weather', 'get_traffic'].map((name) => ({ name, input_schema: place }));

await tell({
  async whole() {
    const { data, response } = await app.messages.create({ model, max_tokens, messages }).withResponse();
    assert.equal(data.content[0].text.split(' ').length, 12);
    assert.equal(data.usage.output_tokens, 12);
    assert.equal(response.headers.get('x-llmroute-target'), model);
  },

  async streamed() {
    const kinds = [];
    for await (const event of await app.messages.create({ model, max_tokens, messages, stream: true })) kinds.push(event.type);
    assert.deepEqual(kinds.slice(-3), ['content_block_stop', 'message_delta', 'message_stop']);
    const answer = await app.messages.stream({ model, max_tokens, messages }).finalMessage();
    assert.equal(answer.content[0].text.split(' ').length, 12);
    assert.equal(answer.usage.output_tokens, 12);
    assert.equal(answer.stop_reason, 'end_turn');
  },

  async tools() {
    const answer = await app.messages.stream({ model, max_tokens, messages: both, tools }).finalMessage();
    assert.equal(answer.stop_reason, 'tool_use');
    assert.deepEqual(answer.content.map((block) => block.name), ['get_weather', 'get_traffic']);
    assert.deepEqual(answer.content[1].input, { city: 'simulated' });
  },

  async toolsAndTheirResults() {
    const asked = await app.messages.create({ model, max_tokens, messages: both, tools });
    const results = asked.content.map((block) => ({ type: 'tool_result', tool_use_id: block.id, content: '42' }));
    const history = [...both, { role: 'assistant', content: asked.content }, { role: 'user', content: results }];
    const answer = await app.messages.create({ model, max_tokens, messages: history, tools });
    assert.equal(answer.stop_reason, 'end_turn');
    assert.ok(answer.content[0].text);
  },

  async parsed() {
    const journey = z.object({ title: z.string(), stops: z.array(z.object({ city: z.string(), nights: z.number() })) });
    const output_config = { format: zodOutputFormat(journey) };
    const answer = await app.messages.parse({ model, max_tokens, messages, output_config });
    assert.equal(answer.parsed_output.stops[0].city, 'simulated');
    const streamed = await app.messages.stream({ model, max_tokens, messages, output_config }).finalMessage();
    assert.equal(streamed.parsed_output.title, 'simulated');
  },

  async errors() {
    const refused = async (kind, wanted) => {
      const before = fetch.calls;
      await assert.rejects(app.messages.create({ max_tokens, messages, ...wanted }), kind);
      assert.equal(fetch.calls, before + 1, 'the SDK asked more than once');
    };
    await refused(NotFoundError, { model: 'no-such-model' });
    await refused(BadRequestError, { model, max_tokens: 0 });
    await refused(RateLimitError, { model: `limited-${model}` });
    await refused(APIError, { model: `failing-${model}`, stream: true });
  },

  async rescued() {
    const before = fetch.calls;
    assert.ok((await app.messages.create({ model: `rescued-${model}`, max_tokens, messages })).content[0].text);
    assert.ok(await app.messages.stream({ model: `rescued-${model}`, max_tokens, messages }).finalText());
    assert.equal(fetch.calls, before + 2);
  },

  async broken() {
    const kinds = [];
    await assert.rejects(async () => {
      const wanted = { model: `breaking-${model}`, max_tokens, messages, stream: true };
      for await (const event of await app.messages.create(wanted)) kinds.push(event.type);
    }, APIError);
    assert.equal(kinds.filter((kind) => kind === 'content_block_delta').length, 5);
    assert.ok(!kinds.includes('message_stop'));
  },

  async aborted() {
    const wanted = { model: `slow-${model}`, max_tokens: 5000, messages };
    await endsAtTheTarget(async () => {
      for await (const event of await app.messages.create({ ...wanted, stream: true })) if (event.type === 'content_block_delta') break;
    });
    await endsAtTheTarget(async () => {
      const impatient = new AbortController();
      setTimeout(() => impatient.abort(), 100);
      await assert.rejects(app.messages.create(wanted, { signal: impatient.signal }), APIUserAbortError);
    });
  },

  async otherOperations() {
    assert.ok((await app.messages.countTokens({ model, messages, tools })).input_tokens > 0);
  },

  async models() {
    const listed = [];
    for await (const one of app.models.list()) listed.push(one.id);
    assert.ok(listed.includes(model));
    assert.equal((await app.models.retrieve(model)).type, 'model');
  },
});
