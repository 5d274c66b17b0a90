// The limit of the platform: node:http that sends the bytes and headers of our healthy answer, and knows no database.
import { createServer } from 'node:http'

const body = '{"status": "healthy","database": "connected"}'
const headers = [
  ['content-type', 'application/json'],
  ['content-length', '45'],
  ['cache-control', 'no-store'],
  ['x-process-time-ms', '1'],
  ['server-timing', 'wait;dur=0.2, query;dur=0.88, total;dur=1.1'],
].flat()

// The same time-out, as Node writes it into every answer.
createServer({ keepAliveTimeout: 65_000 }, (_request, response) => {
  response.writeHead(200, headers)
  response.end(body)
}).listen(Number(process.env['PORT']), '127.0.0.1')
